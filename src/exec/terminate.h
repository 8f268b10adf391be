/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The only place that signals a process: always by pidfd, so never one that got the number later. */

/* 0, or -ESRCH when it has ended already, -EPERM. */
int terminate_signal(int pidfd, int signal);
