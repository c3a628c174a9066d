#include "nsd-core/log.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define LOG_LINE_MAX 2048

/* Is stderr the journal's stream? systemd says which device and inode that is. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) != 0) {
		return false;
	}
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

/* Copies text, control characters as \xNN (a line of the log is a line, whoever chose its words);
 * what does not fit ends in "...". Returns the end. */
static char *put_escaped(char *p, const char *end, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		if (end - p < 8) {
			memcpy(p, "...", 3);
			return p + 3;
		}
		if (c < 0x20 || c == 0x7f) {
			p += sprintf(p, "\\x%02x", c);
		} else {
			*p++ = *text;
		}
	}
	return p;
}

static void log_line(int level, const char *word, const char *text)
{
	char line[LOG_LINE_MAX];
	char time[24];
	char *p = line;

	if (stderr_is_journal()) {
		p += sprintf(p, "<%d>", level);
	} else {
		p += sprintf(p, "%s ", time_to_text(clock_wall_s(), time));
	}
	p += sprintf(p, "%s", word);
	p = put_escaped(p, line + sizeof(line) - 1, text);
	*p++ = '\n';
	/* Nobody is left to tell where this fails. */
	ssize_t ignored = write(STDERR_FILENO, line, (size_t)(p - line));
	(void)ignored;
}

static PRINTF(3, 0) void log_vline(int level, const char *word, const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX];

	vsnprintf(text, sizeof(text), fmt, ap);
	log_line(level, word, text);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(LOG_INFO, "", fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(LOG_WARNING, "warning: ", fmt, ap);
	va_end(ap);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(LOG_ERR, "error: ", fmt, ap);
	va_end(ap);
}

void log_diags(const struct diags *d)
{
	char text[LOG_LINE_MAX];

	for (size_t i = 0; i < d->count; i++) {
		int level = d->items[i].level == DIAG_ERROR ? LOG_ERR : LOG_WARNING;
		log_line(level, "", diag_format(&d->items[i], text, sizeof(text)));
	}
	if (d->errors + d->warnings > d->count) {
		log_error("%zu findings more are not shown", d->errors + d->warnings - d->count);
	}
}
