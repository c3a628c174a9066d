#include "nsd-core/base/status.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *status_text(enum status st)
{
	static const char *const texts[] = {
		[ST_OK] = "done",
		[ST_ENOMEM] = "out of memory",
		[ST_EPARSE] = "malformed",
		[ST_ESPACE] = "does not fit",
		[ST_ENOENT] = "not found",
		[ST_EEXIST] = "exists already",
		[ST_EBUSY] = "under way",
		[ST_EAGAIN] = "not now, try again",
		[ST_EIO] = "input/output error",
		[ST_EACCES] = "permission denied",
		[ST_ETIMEDOUT] = "timed out",
		[ST_EREFUSED] = "refused",
		[ST_ENOTSUP] = "not supported",
		[ST_ELIMIT] = "limit reached",
		[ST_ECRYPTO] = "cryptographic failure",
		[ST_EFATAL] = "needs the operator",
	};
	size_t i = (size_t)st;

	return i < sizeof(texts) / sizeof(texts[0]) ? texts[i] : "unknown status";
}

enum status status_from_errno(int err)
{
	switch (err) {
	case 0:
		return ST_OK;
	case ENOMEM:
		return ST_ENOMEM;
	case ENOENT:
	case ENOTDIR:
		return ST_ENOENT;
	case EEXIST:
		return ST_EEXIST;
	case EACCES:
	case EPERM:
		return ST_EACCES;
	case EBUSY:
	case EINPROGRESS:
	case EALREADY:
		return ST_EBUSY;
	case EAGAIN:
	case EINTR:
		return ST_EAGAIN;
	case ETIMEDOUT:
		return ST_ETIMEDOUT;
	case ENOTSUP:
	case ENOSYS:
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		return ST_ENOTSUP;
	case ENAMETOOLONG:
	case ERANGE:
	case EOVERFLOW:
		return ST_ESPACE;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case EDQUOT:
	case ENOSPC:
		return ST_ELIMIT;
	default:
		return ST_EIO;
	}
}

void diags_init(struct diags *d, size_t limit)
{
	*d = (struct diags){.limit = limit};
}

static void diag_fini(struct diag *item)
{
	free(item->file);
	free(item->text);
}

void diags_fini(struct diags *d)
{
	for (size_t i = 0; i < d->count; i++) {
		diag_fini(&d->items[i]);
	}
	free(d->items);
	diags_init(d, d->limit);
}

/* Room for one entry more, within the limit. */
static bool diags_reserve(struct diags *d)
{
	if (d->count >= d->limit) {
		return false;
	}
	if (d->count < d->room) {
		return true;
	}
	size_t room = d->room == 0 ? 8 : d->room * 2;
	struct diag *items = reallocarray(d->items, room, sizeof(*items));
	if (items == NULL) {
		return false;
	}
	d->items = items;
	d->room = room;
	return true;
}

static void diags_count(struct diags *d, enum diag_level level)
{
	if (level == DIAG_ERROR) {
		d->errors++;
	} else {
		d->warnings++;
	}
}

static PRINTF(6, 0) void diags_vadd(struct diags *d, enum diag_level level, const char *file,
				    uint32_t line, uint32_t column, const char *fmt, va_list ap)
{
	if (d == NULL) {
		return;
	}
	diags_count(d, level);
	if (!diags_reserve(d)) {
		return;
	}
	struct diag item = {.level = level, .line = line, .column = column};
	if (vasprintf(&item.text, fmt, ap) < 0) {
		return;
	}
	if (file != NULL) {
		item.file = strdup(file);
		if (item.file == NULL) {
			free(item.text);
			return;
		}
	}
	d->items[d->count++] = item;
}

void diags_add(struct diags *d, enum diag_level level, const char *file, uint32_t line,
	       uint32_t column, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	diags_vadd(d, level, file, line, column, fmt, ap);
	va_end(ap);
}

void diags_error(struct diags *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	diags_vadd(d, DIAG_ERROR, NULL, 0, 0, fmt, ap);
	va_end(ap);
}

void diags_warn(struct diags *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	diags_vadd(d, DIAG_WARNING, NULL, 0, 0, fmt, ap);
	va_end(ap);
}

const char *diag_format(const struct diag *d, char *buf, size_t size)
{
	const char *level = d->level == DIAG_ERROR ? "error" : "warning";
	const char *file = d->file != NULL ? d->file : "";
	const char *colon = d->file != NULL ? ":" : "";
	char place[32] = "";

	if (d->line != 0 && d->column != 0) {
		snprintf(place, sizeof(place), "%u:%u:", d->line, d->column);
	} else if (d->line != 0) {
		snprintf(place, sizeof(place), "%u:", d->line);
	}
	const char *space = d->file != NULL || d->line != 0 ? " " : "";
	snprintf(buf, size, "%s%s%s%s%s: %s", file, colon, place, space, level, d->text);
	return buf;
}

void diags_take(struct diags *to, struct diags *from)
{
	for (size_t i = 0; i < from->count; i++) {
		if (diags_reserve(to)) {
			to->items[to->count++] = from->items[i];
		} else {
			diag_fini(&from->items[i]);
		}
	}
	to->errors += from->errors;
	to->warnings += from->warnings;
	free(from->items);
	diags_init(from, from->limit);
}
