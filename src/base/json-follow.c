/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/json-follow.h"

#include "base/macro.h"

/* What may come next. */
enum place {
    PLACE_VALUE, /* the first, since it is where a text begins */
    PLACE_VALUE_OR_END,
    PLACE_KEY,
    PLACE_KEY_OR_END,
    PLACE_COLON,
    PLACE_COMMA_OR_END,
    PLACE_STRING,
    PLACE_ESCAPED,
    PLACE_NUMBER,
    PLACE_WORD,
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_of_number(char c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static bool in_object(const struct json_follow *follow) {
    unsigned level = follow->depth - 1;

    return follow->objects[level / 64] >> (level % 64) & 1;
}

static bool bad(struct json_follow *follow) {
    follow->state = JSON_FOLLOW_BAD;
    return false;
}

static bool open_bracket(struct json_follow *follow, bool object) {
    unsigned level = follow->depth;

    if (level == JSON_FOLLOW_DEPTH_MAX)
        return bad(follow);
    follow->objects[level / 64] &= ~(UINT64_C(1) << (level % 64));
    follow->objects[level / 64] |= (uint64_t) object << (level % 64);
    follow->depth++;
    follow->place = object ? PLACE_KEY_OR_END : PLACE_VALUE_OR_END;
    return true;
}

static void end_value(struct json_follow *follow) {
    follow->place = PLACE_COMMA_OR_END;
    if (follow->depth == 0)
        follow->state = JSON_FOLLOW_WHOLE;
}

static bool close_bracket(struct json_follow *follow, char c) {
    if (c != (in_object(follow) ? '}' : ']'))
        return bad(follow);
    follow->depth--;
    end_value(follow);
    return true;
}

static bool begin_string(struct json_follow *follow, bool key) {
    follow->in_key = key;
    follow->place = PLACE_STRING;
    return true;
}

static bool begin_value(struct json_follow *follow, char c) {
    static const char *const words[] = {"true", "false", "null"};

    follow->state = JSON_FOLLOW_PART;
    if (c == '{' || c == '[')
        return open_bracket(follow, c == '{');
    if (c == '"')
        return begin_string(follow, false);
    if (c == '-' || (c >= '0' && c <= '9')) {
        follow->place = PLACE_NUMBER;
        return true;
    }
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (c == words[i][0]) {
            follow->word = words[i] + 1;
            follow->place = PLACE_WORD;
            return true;
        }
    return bad(follow);
}

/* Within a string, from text[at] on: returns where it goes on behind the piece, or behind its end. */
static size_t pass_string(struct json_follow *follow, const char *text, size_t at, size_t size) {
    for (; at < size; at++) {
        if (follow->place == PLACE_ESCAPED)
            follow->place = PLACE_STRING;
        else if (text[at] == '\\')
            follow->place = PLACE_ESCAPED;
        else if (text[at] == '"') {
            if (follow->in_key)
                follow->place = PLACE_COLON;
            else
                end_value(follow);
            return at + 1;
        }
    }
    return at;
}

/* One byte outside of strings. False: it does not belong there. */
static bool take(struct json_follow *follow, char c) {
    switch ((enum place) follow->place) {
    case PLACE_VALUE_OR_END:
        if (c == ']')
            return close_bracket(follow, c);
        return begin_value(follow, c);
    case PLACE_VALUE:
        return begin_value(follow, c);
    case PLACE_KEY_OR_END:
        if (c == '}')
            return close_bracket(follow, c);
        return c == '"' ? begin_string(follow, true) : bad(follow);
    case PLACE_KEY:
        return c == '"' ? begin_string(follow, true) : bad(follow);
    case PLACE_COLON:
        follow->place = PLACE_VALUE;
        return c == ':' ? true : bad(follow);
    case PLACE_COMMA_OR_END:
        if (c != ',')
            return close_bracket(follow, c);
        follow->place = in_object(follow) ? PLACE_KEY : PLACE_VALUE;
        return true;
    case PLACE_WORD:
        if (c != *follow->word++)
            return bad(follow);
        if (!*follow->word)
            end_value(follow);
        return true;
    case PLACE_STRING:
    case PLACE_ESCAPED:
    case PLACE_NUMBER:
        break;
    }
    return bad(follow);
}

size_t json_follow_feed(struct json_follow *follow, const char *bytes, size_t size) {
    size_t at = 0;

    while (at < size && follow->state != JSON_FOLLOW_BAD) {
        char c = bytes[at];

        if (follow->state == JSON_FOLLOW_WHOLE) {
            if (!is_blank(c))
                break;
            at++;
        } else if (follow->place == PLACE_STRING || follow->place == PLACE_ESCAPED)
            at = pass_string(follow, bytes, at, size);
        else if (follow->place == PLACE_NUMBER) {
            if (is_of_number(c))
                at++;
            else
                end_value(follow); /* and the byte is looked at anew */
        } else if ((is_blank(c) && follow->place != PLACE_WORD) || take(follow, c))
            at++;
    }
    return at;
}

enum json_follow_state json_follow_end(struct json_follow *follow) {
    if (follow->state == JSON_FOLLOW_PART && follow->place == PLACE_NUMBER && follow->depth == 0)
        follow->state = JSON_FOLLOW_WHOLE;
    return follow->state;
}
