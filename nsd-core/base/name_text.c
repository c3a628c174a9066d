#include "nsd-core/base/name.h"

#define NAME_LABEL_MAX 63

/* One octet of a label from text at 'at' < len, an escape resolved. Returns octets of text used; 0:
 * a bad escape. */
static size_t unescape(const char *text, size_t at, size_t len, uint8_t *octet)
{
	const uint8_t *p = (const uint8_t *)text + at;
	size_t left = len - at;

	if (p[0] != '\\') {
		*octet = p[0];
		return 1;
	}
	if (left < 2) {
		return 0;
	}
	if (p[1] < '0' || p[1] > '9') {
		*octet = p[1];
		return 2;
	}
	if (left < 4 || p[2] < '0' || p[2] > '9' || p[3] < '0' || p[3] > '9') {
		return 0;
	}
	unsigned value = (p[1] - '0') * 100U + (p[2] - '0') * 10U + (p[3] - '0');
	if (value > UINT8_MAX) {
		return 0;
	}
	*octet = (uint8_t)value;
	return 4;
}

/* One label from text[*at], into out with its length octet; *at is left behind its dot, *dotted
 * says whether there was one. 'room': octets left in the name. */
static enum status label_from_text(const char *text, size_t len, size_t *at, uint8_t *out,
				   size_t room, bool *dotted, const char **why)
{
	size_t used = 0;

	*dotted = false;
	while (*at < len) {
		uint8_t octet;
		if (text[*at] == '.') {
			*dotted = true;
			(*at)++;
			break;
		}
		size_t step = unescape(text, *at, len, &octet);
		if (step == 0) {
			*why = "bad escape in a name (\\X or \\DDD up to \\255)";
			return ST_EPARSE;
		}
		if (used == NAME_LABEL_MAX) {
			*why = "a label is longer than 63 octets";
			return ST_ESPACE;
		}
		if (used + 1 >= room) {
			*why = "a name is longer than 255 octets";
			return ST_ESPACE;
		}
		out[++used] = octet;
		*at += step;
	}
	if (used == 0) {
		*why = "a label is empty";
		return ST_EPARSE;
	}
	out[0] = (uint8_t)used;
	return ST_OK;
}

/* All labels of text into name; *absolute: there was a final dot. */
static enum status labels_from_text(const char *text, size_t len, uint8_t *name, size_t *name_len,
				    bool *absolute, const char **why)
{
	size_t at = 0;
	size_t used = 0;

	while (at < len) {
		enum status st = label_from_text(text, len, &at, name + used,
						 NAME_MAX_LEN - 1 - used, absolute, why);
		if (st != ST_OK) {
			return st;
		}
		used += (size_t)name[used] + 1;
	}
	*name_len = used;
	return ST_OK;
}

/* Labels of letters, digits and the like, each length octet in the place of the dot before; what
 * needs more care, or is at fault, is left to labels_from_text(). */
static bool plain_labels_from_text(const char *text, size_t len, uint8_t *name, size_t *name_len,
				   bool *absolute)
{
	uint8_t *length = name;
	uint8_t *p = name + 1;

	if (len >= NAME_MAX_LEN - 1) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];
		if (c == '\\') {
			return false;
		}
		if (c == '.') {
			size_t used = (size_t)(p - length) - 1;
			if (used == 0 || used > NAME_LABEL_MAX) {
				return false;
			}
			*length = (uint8_t)used;
			length = p;
		}
		*p++ = c;
	}
	*absolute = length == p - 1 && text[len - 1] == '.';
	if (*absolute) {
		p = length;
	} else {
		size_t used = (size_t)(p - length) - 1;
		if (used > NAME_LABEL_MAX) {
			return false;
		}
		*length = (uint8_t)used;
	}
	*name_len = (size_t)(p - name);
	return true;
}

enum status name_from_text(const char *text, size_t len, const uint8_t *origin, uint8_t *out,
			   size_t *out_len, const char **why)
{
	static const uint8_t root[1] = {0};
	uint8_t labels[NAME_MAX_LEN];
	size_t labels_len = 0;
	bool absolute = false;
	const char *unused;

	why = why != NULL ? why : &unused;
	if (len == 0) {
		*why = "a name is empty";
		return ST_EPARSE;
	}
	if (len == 1 && text[0] == '.') {
		absolute = true;
	} else if (len == 1 && text[0] == '@') {
		if (origin == NULL) {
			*why = "\"@\" where there is no origin";
			return ST_EPARSE;
		}
	} else if (!plain_labels_from_text(text, len, labels, &labels_len, &absolute)) {
		enum status st = labels_from_text(text, len, labels, &labels_len, &absolute, why);
		if (st != ST_OK) {
			return st;
		}
	}
	const uint8_t *suffix = absolute || origin == NULL ? root : origin;
	size_t suffix_len = name_len(suffix);
	if (labels_len + suffix_len > NAME_MAX_LEN) {
		*why = "a name is longer than 255 octets with its origin";
		return ST_ESPACE;
	}
	/* 'out' may be where the origin stands. */
	memmove(out + labels_len, suffix, suffix_len);
	memcpy(out, labels, labels_len);
	*out_len = labels_len + suffix_len;
	return ST_OK;
}

static char *octet_to_text(uint8_t c, char *p)
{
	if (c <= 0x20 || c >= 0x7f) {
		*p++ = '\\';
		*p++ = (char)('0' + c / 100);
		*p++ = (char)('0' + c / 10 % 10);
		*p++ = (char)('0' + c % 10);
		return p;
	}
	if (strchr(".\\\";()@$", c) != NULL) {
		*p++ = '\\';
	}
	*p++ = (char)c;
	return p;
}

char *name_to_text(const uint8_t *name, char *buf)
{
	char *p = buf;

	if (*name == 0) {
		*p++ = '.';
	}
	while (*name != 0) {
		size_t left = *name++;
		for (; left > 0; left--) {
			p = octet_to_text(*name++, p);
		}
		*p++ = '.';
	}
	*p = '\0';
	return buf;
}
