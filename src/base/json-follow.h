/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a JSON text ends (RFC 8259), followed as it comes in pieces of any size and without keeping any of
 * it. What decides where a value ends is looked at: brackets, commas, colons, strings, the three words.
 * Numbers are taken for any run of what numbers are made of, and the bytes of strings are not looked at. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_FOLLOW_DEPTH_MAX 2048 /* as deep as jansson reads (JSON_PARSER_MAX_DEPTH) */

enum json_follow_state {
    JSON_FOLLOW_EMPTY, /* nothing but white space so far */
    JSON_FOLLOW_PART,  /* it has begun */
    JSON_FOLLOW_WHOLE,
    JSON_FOLLOW_BAD, /* it is no JSON, or deeper than that */
};

/* Begins as {0}. The fields are json-follow.c's. */
struct json_follow {
    enum json_follow_state state;
    unsigned char place;
    const char *word;                             /* what is left of true, false or null */
    bool in_key;                                  /* the string is a member's name */
    unsigned depth;                               /* brackets that are open */
    uint64_t objects[JSON_FOLLOW_DEPTH_MAX / 64]; /* a bit each: it is an object's */
};

/* Returns how many of the bytes belong to the text, with the white space around it: all of them, until the
 * value is whole. Where it is bad, those before the byte that made it so. */
size_t json_follow_feed(struct json_follow *follow, const char *bytes, size_t size);

/* Nothing more comes: a number is whole then, whose end nothing else tells. */
enum json_follow_state json_follow_end(struct json_follow *follow);
