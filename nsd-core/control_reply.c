#include "nsd-core/control_reply.h"

#include <stdlib.h>
#include <string.h>

void reply_init(struct reply *r)
{
	*r = (struct reply){.exit = EXIT_DONE};
}

void reply_fini(struct reply *r)
{
	free(r->text);
	free(r->error);
	json_decref(r->notes);
	json_decref(r->data);
	reply_init(r);
}

void reply_fail(struct reply *r, enum control_exit code, const char *fmt, ...)
{
	va_list ap;

	reply_fini(r);
	r->exit = code;
	va_start(ap, fmt);
	if (vasprintf(&r->error, fmt, ap) < 0) {
		r->error = NULL;
	}
	va_end(ap);
}

json_t *reply_string(const char *text)
{
	json_t *s = json_string(text);

	if (s != NULL) {
		return s;
	}
	char *ascii = strdup(text);
	for (char *p = ascii; p != NULL && *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x80) {
			*p = '?';
		}
	}
	s = ascii != NULL ? json_string(ascii) : NULL;
	free(ascii);
	return s;
}

void reply_note(struct reply *r, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		return;
	}
	if (r->notes == NULL) {
		r->notes = json_array();
	}
	/* Takes NULL on either side. */
	json_array_append_new(r->notes, reply_string(text));
	free(text);
}

static char *to_line(json_t *object, size_t *len)
{
	char *line = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (line == NULL) {
		return NULL;
	}
	size_t n = strlen(line);
	char *ended = realloc(line, n + 2);
	if (ended == NULL) {
		free(line);
		return NULL;
	}
	ended[n] = '\n';
	ended[n + 1] = '\0';
	*len = n + 1;
	return ended;
}

char *reply_to_line(const struct reply *r, size_t *len)
{
	json_t *o = json_pack("{s:i, s:b, s:i}", "version", CONTROL_VERSION, "ok",
			      r->exit == EXIT_DONE, "exit", (int)r->exit);

	if (r->text != NULL) {
		json_object_set_new(o, "text", reply_string(r->text));
	}
	if (r->error != NULL) {
		json_object_set_new(o, "error", reply_string(r->error));
	}
	if (r->notes != NULL) {
		json_object_set(o, "notes", r->notes);
	}
	if (r->data != NULL) {
		json_object_set(o, "data", r->data);
	}
	return to_line(o, len);
}

char *reply_chunk_line(const char *text, size_t text_len, size_t *len)
{
	return to_line(json_pack("{s:i, s:o}", "version", CONTROL_VERSION, "chunk",
				 json_stringn(text, text_len)),
		       len);
}

void reply_text_open(struct reply_text *t)
{
	*t = (struct reply_text){.f = NULL};
	t->f = open_memstream(&t->text, &t->len);
}

void reply_text_close(struct reply_text *t, struct reply *r)
{
	if (t->f == NULL || fclose(t->f) != 0) {
		free(t->text);
		reply_fail(r, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
		return;
	}
	free(r->text);
	r->text = t->text;
}

void table_init(struct table *t, size_t columns)
{
	*t = (struct table){.columns = columns};
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->cells[i]);
	}
	free(t->cells);
}

void table_put(struct table *t, const char *fmt, ...)
{
	va_list ap;

	if (t->failed) {
		return;
	}
	if (t->count == t->room) {
		size_t room = t->room == 0 ? 64 : t->room * 2;
		char **cells = realloc(t->cells, room * sizeof(char *));
		if (cells == NULL) {
			t->failed = true;
			return;
		}
		t->cells = cells;
		t->room = room;
	}
	va_start(ap, fmt);
	t->failed = vasprintf(&t->cells[t->count], fmt, ap) < 0;
	va_end(ap);
	t->count += !t->failed;
}

void table_print(const struct table *t, FILE *f)
{
	size_t width[TABLE_COLUMNS] = {0};

	for (size_t i = 0; i < t->count; i++) {
		size_t len = strlen(t->cells[i]);
		size_t *w = &width[i % t->columns];
		*w = len > *w ? len : *w;
	}
	for (size_t row = 0; row < t->count; row += t->columns) {
		size_t end = t->count - row < t->columns ? t->count - row : t->columns;
		/* Nothing is padded at the end of a line. */
		while (end > 1 && t->cells[row + end - 1][0] == '\0') {
			end--;
		}
		for (size_t c = 0; c + 1 < end; c++) {
			fprintf(f, "%-*s  ", (int)width[c], t->cells[row + c]);
		}
		fprintf(f, "%s\n", t->cells[row + end - 1]);
	}
	if (t->failed) {
		fprintf(f, "(%s)\n", status_text(ST_ENOMEM));
	}
}

const char *duration_text(int64_t s, char buf[32])
{
	static const struct {
		int64_t s;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};

	s = s < 0 ? 0 : s;
	for (size_t i = 0; i < 3; i++) {
		if (s >= units[i].s) {
			snprintf(buf, 32, "%lld%c %lld%c", (long long)(s / units[i].s),
				 units[i].unit, (long long)(s % units[i].s / units[i + 1].s),
				 units[i + 1].unit);
			return buf;
		}
	}
	snprintf(buf, 32, "%llds", (long long)s);
	return buf;
}
