#include "nsd-core/conf_tree.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct tree_reader {
	yaml_parser_t parser;
	const char *text;
	size_t len;
	size_t line; /* from 0: where place_of() was last */
	const char *line_start;
	struct arena *arena;
	const struct conf_faults *faults;
	struct conf_node *root;
	struct conf_node *open[CONF_DEPTH_MAX]; /* the maps and lists being read */
	unsigned depth;
	/* The map being read has had a key, whose value comes next. */
	const char *key;
	struct conf_place key_place;
	bool has_key;
	bool skip_key; /* said twice: its value is read and forgotten */
	unsigned documents;
};

static PRINTF(4, 0) void faults_add(const struct conf_faults *f, enum diag_level level,
				    struct conf_place place, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	diags_add(f->diags, level, f->file, place.line, place.column, "%s", text);
}

void conf_fault(const struct conf_faults *f, struct conf_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	faults_add(f, DIAG_ERROR, place, fmt, ap);
	va_end(ap);
}

void conf_warning(const struct conf_faults *f, struct conf_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	faults_add(f, DIAG_WARNING, place, fmt, ap);
	va_end(ap);
}

/* libyaml counts characters; a place counts octets, as the zone reader does. Marks come mostly in
 * order, so the search starts at the line of the last one. */
static struct conf_place place_of(struct tree_reader *r, const yaml_mark_t *mark)
{
	const char *end = r->text + r->len;

	if (mark->line < r->line) {
		r->line = 0;
		r->line_start = r->text;
	}
	while (r->line < mark->line) {
		const char *eol = memchr(r->line_start, '\n', (size_t)(end - r->line_start));
		if (eol == NULL) {
			/* A line ended by what only YAML calls a line break. */
			return (struct conf_place){(uint32_t)mark->line + 1,
						   (uint32_t)mark->column + 1};
		}
		r->line++;
		r->line_start = eol + 1;
	}
	const char *p = r->line_start;
	for (size_t column = 0; column < mark->column && p < end; column++) {
		p++;
		while (p < end && ((unsigned char)*p & 0xc0) == 0x80) {
			p++;
		}
	}
	return (struct conf_place){(uint32_t)r->line + 1, (uint32_t)(p - r->line_start) + 1};
}

static struct conf_node *top(const struct tree_reader *r)
{
	return r->depth == 0 ? NULL : r->open[r->depth - 1];
}

/* Hangs a node where the reader stands. */
static void attach(struct tree_reader *r, struct conf_node *node)
{
	struct conf_node *parent = top(r);
	bool skip = false;

	if (parent == NULL) {
		r->root = node;
		return;
	}
	if (parent->kind == NODE_MAP) {
		node->key = r->key;
		node->key_place = r->key_place;
		skip = r->skip_key;
		r->has_key = false;
		r->skip_key = false;
	}
	if (skip) {
		return;
	}
	if (parent->last == NULL) {
		parent->first = node;
	} else {
		parent->last->next = node;
	}
	parent->last = node;
	parent->count++;
}

static struct conf_node *node_new(struct tree_reader *r, enum conf_node_kind kind,
				  const yaml_mark_t *mark)
{
	struct conf_node *node = arena_alloc(r->arena, sizeof(*node));

	if (node != NULL) {
		*node = (struct conf_node){.kind = kind, .place = place_of(r, mark)};
	}
	return node;
}

static enum status refuse(struct tree_reader *r, const yaml_mark_t *mark, const char *what)
{
	conf_fault(r->faults, place_of(r, mark), "%s", what);
	return ST_EPARSE;
}

static enum status open_node(struct tree_reader *r, enum conf_node_kind kind,
			     const yaml_mark_t *mark)
{
	if (top(r) != NULL && top(r)->kind == NODE_MAP && !r->has_key) {
		return refuse(r, mark, "a key must be a plain word");
	}
	if (r->depth == CONF_DEPTH_MAX) {
		return refuse(r, mark, "nested too deeply");
	}
	struct conf_node *node = node_new(r, kind, mark);
	if (node == NULL) {
		return ST_ENOMEM;
	}
	attach(r, node);
	r->open[r->depth++] = node;
	return ST_OK;
}

static enum status on_key(struct tree_reader *r, const char *text, const yaml_mark_t *mark)
{
	struct conf_node *map = top(r);
	const struct conf_node *before = conf_tree_get(map, text);

	if (map->count >= CONF_KEYS_MAX) {
		return refuse(r, mark, "too many keys in one map");
	}
	r->key = text;
	r->key_place = place_of(r, mark);
	r->has_key = true;
	if (before != NULL) {
		conf_fault(r->faults, r->key_place, "'%s' is given twice, first in line %u", text,
			   before->key_place.line);
		r->skip_key = true;
	}
	return ST_OK;
}

static enum status on_scalar(struct tree_reader *r, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;

	if (memchr(value, '\0', len) != NULL) {
		return refuse(r, &event->start_mark, "a NUL character in a value");
	}
	char *text = arena_copy(r->arena, value, len + 1);
	if (text == NULL) {
		return ST_ENOMEM;
	}
	if (top(r) != NULL && top(r)->kind == NODE_MAP && !r->has_key) {
		return on_key(r, text, &event->start_mark);
	}
	struct conf_node *node = node_new(r, NODE_SCALAR, &event->start_mark);
	if (node == NULL) {
		return ST_ENOMEM;
	}
	node->text = text;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	attach(r, node);
	return ST_OK;
}

/* Anchors and tags: what the event says of them, NULL where it has none. */
static const char *extras_of(const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	case YAML_ALIAS_EVENT:
		return "aliases (*name) are not supported";
	default:
		break;
	}
	if (anchor != NULL) {
		return "anchors (&name) are not supported";
	}
	return tag != NULL ? "tags (!name) are not supported" : NULL;
}

static enum status on_event(struct tree_reader *r, const yaml_event_t *event)
{
	const char *extras = extras_of(event);

	if (extras != NULL) {
		return refuse(r, &event->start_mark, extras);
	}
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (++r->documents > 1) {
			return refuse(r, &event->start_mark, "one document only");
		}
		return ST_OK;
	case YAML_SEQUENCE_START_EVENT:
		return open_node(r, NODE_LIST, &event->start_mark);
	case YAML_MAPPING_START_EVENT:
		return open_node(r, NODE_MAP, &event->start_mark);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		r->depth--;
		return ST_OK;
	case YAML_SCALAR_EVENT:
		return on_scalar(r, event);
	default:
		return ST_OK;
	}
}

static enum status parser_failed(struct tree_reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem != NULL ? p->problem : "not YAML";

	if (p->error == YAML_MEMORY_ERROR) {
		return ST_ENOMEM;
	}
	if (p->error == YAML_READER_ERROR) {
		/* Knows the octet only. */
		size_t at = p->problem_offset < r->len ? p->problem_offset : r->len;
		struct conf_place place = {1, 1};
		for (const char *c = r->text; c < r->text + at; c++) {
			place.column++;
			if (*c == '\n') {
				place = (struct conf_place){place.line + 1, 1};
			}
		}
		conf_fault(r->faults, place, "%s", problem);
	} else if (p->context != NULL) {
		conf_fault(r->faults, place_of(r, &p->problem_mark), "%s %s", problem, p->context);
	} else {
		conf_fault(r->faults, place_of(r, &p->problem_mark), "%s", problem);
	}
	return ST_EPARSE;
}

static enum status read_events(struct tree_reader *r)
{
	for (;;) {
		yaml_event_t event;
		if (!yaml_parser_parse(&r->parser, &event)) {
			return parser_failed(r);
		}
		bool end = event.type == YAML_STREAM_END_EVENT;
		enum status st = on_event(r, &event);
		yaml_event_delete(&event);
		if (st != ST_OK || end) {
			return st;
		}
	}
}

enum status conf_tree_read(const char *text, size_t len, struct arena *arena,
			   const struct conf_faults *faults, struct conf_node **out)
{
	struct tree_reader r = {
		.text = text, .len = len, .line_start = text, .arena = arena, .faults = faults};

	if (!yaml_parser_initialize(&r.parser)) {
		return ST_ENOMEM;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	enum status st = read_events(&r);
	yaml_parser_delete(&r.parser);
	if (st != ST_OK) {
		return st;
	}
	if (r.root == NULL) {
		conf_fault(faults, (struct conf_place){1, 1}, "the file is empty");
		return ST_EPARSE;
	}
	*out = r.root;
	return ST_OK;
}

const struct conf_node *conf_tree_get(const struct conf_node *map, const char *key)
{
	for (const struct conf_node *n = map->first; n != NULL; n = n->next) {
		if (strcmp(n->key, key) == 0) {
			return n;
		}
	}
	return NULL;
}

bool conf_node_is_null(const struct conf_node *node)
{
	return node->kind == NODE_SCALAR && node->plain &&
	       (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
		strcmp(node->text, "null") == 0);
}

const char *conf_node_text(const struct conf_node *node, char *buf, size_t size)
{
	if (node->kind != NODE_SCALAR) {
		return node->kind == NODE_MAP ? "a map" : "a list";
	}
	if (conf_node_is_null(node)) {
		return "nothing";
	}
	snprintf(buf, size, "'%.40s'%s", node->text, strlen(node->text) > 40 ? "..." : "");
	return buf;
}
