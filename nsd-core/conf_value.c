#include "nsd-core/conf_value.h"

#include "nsd-core/base/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define DNS_PORT 53

char *conf_strdup(struct conf_reader *rd, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL) {
		rd->err = ST_ENOMEM;
	}
	return copy;
}

char *conf_path_join(struct conf_reader *rd, const char *directory, const char *path)
{
	char *joined = NULL;
	size_t len = strlen(directory);
	const char *slash = len > 0 && directory[len - 1] != '/' ? "/" : "";

	if (path[0] == '/' || len == 0) {
		return conf_strdup(rd, path);
	}
	if (asprintf(&joined, "%s%s%s", directory, slash, path) < 0) {
		rd->err = ST_ENOMEM;
		return NULL;
	}
	return joined;
}

/* Digits, then one letter of 'units' (or none, where factors[] has an entry behind the last). */
static enum status unit_parse(const char *text, const char *units, const uint64_t *factors,
			      uint64_t plain_factor, uint64_t *out)
{
	uint32_t count;
	size_t digits = strspn(text, "0123456789");
	uint64_t factor = plain_factor;

	if (text_to_u32(text, digits, UINT32_MAX, &count) != ST_OK) {
		return ST_EPARSE;
	}
	if (text[digits] != '\0') {
		const char *unit = strchr(units, text[digits]);
		if (unit == NULL || text[digits + 1] != '\0') {
			return ST_EPARSE;
		}
		factor = factors[unit - units];
	}
	if (factor == 0) {
		return ST_EPARSE;
	}
	*out = count * factor;
	return ST_OK;
}

enum status conf_duration_parse(const char *text, uint64_t *out)
{
	static const uint64_t factors[] = {1, 60, 3600, 86400, 31536000};

	return unit_parse(text, "smhdy", factors, 0, out);
}

enum status conf_size_parse(const char *text, uint64_t *out)
{
	static const uint64_t factors[] = {UINT64_C(1) << 10, UINT64_C(1) << 20, UINT64_C(1) << 30};

	return unit_parse(text, "KMG", factors, 1, out);
}

/* Splits at the '@'; the address without its port goes to host. */
static enum status address_split(const char *text, uint16_t default_port,
				 char host[INET6_ADDRSTRLEN], uint16_t *port)
{
	const char *at = strchr(text, '@');
	size_t host_len = at != NULL ? (size_t)(at - text) : strlen(text);
	uint32_t number = default_port;

	if (host_len == 0 || host_len >= INET6_ADDRSTRLEN) {
		return ST_EPARSE;
	}
	if (at != NULL &&
	    (text_to_u32(at + 1, strlen(at + 1), UINT16_MAX, &number) != ST_OK || number == 0)) {
		return ST_EPARSE;
	}
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	*port = (uint16_t)number;
	return ST_OK;
}

enum status conf_address_parse(const char *text, uint16_t default_port, struct conf_address *out)
{
	char host[INET6_ADDRSTRLEN];
	uint16_t port;
	struct conf_address a = {0};
	struct sockaddr_in *in4 = (struct sockaddr_in *)&a.addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.addr;

	if (address_split(text, default_port, host, &port) != ST_OK) {
		return ST_EPARSE;
	}
	if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(port);
		a.len = sizeof(*in4);
	} else if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		a.len = sizeof(*in6);
	} else {
		return ST_EPARSE;
	}
	snprintf(a.text, sizeof(a.text), "%s@%u", host, port);
	*out = a;
	return ST_OK;
}

static void *field_at(void *section, size_t offset)
{
	return offset == OPT_NOWHERE ? NULL : (char *)section + offset;
}

void conf_value_expected(struct conf_reader *rd, const struct option *opt,
			 const struct conf_node *node, const char *what)
{
	char found[64];

	conf_fault(&rd->faults, node->place, "'%s': expected %s, found %s", opt->name, what,
		   conf_node_text(node, found, sizeof(found)));
}

static void read_text(struct conf_reader *rd, const struct option *opt,
		      const struct conf_node *node, char **out)
{
	size_t len = node->kind == NODE_SCALAR ? strlen(node->text) : 0;
	char *text = NULL;

	if (node->kind != NODE_SCALAR) {
		conf_value_expected(rd, opt, node, opt->type == OPT_PATH ? "a path" : "text");
		return;
	}
	if (len == 0 || (opt->type == OPT_TEXT && (len < opt->min || len > opt->max))) {
		conf_fault(&rd->faults, node->place, "'%s': %s", opt->name,
			   len == 0 ? "empty" : (len < opt->min ? "too short" : "too long"));
		return;
	}
	text = opt->type == OPT_PATH ? conf_path_join(rd, rd->directory, node->text)
				     : conf_strdup(rd, node->text);
	*out = text;
}

static void read_bool(struct conf_reader *rd, const struct option *opt,
		      const struct conf_node *node, bool *out)
{
	if (node->kind == NODE_SCALAR && node->plain && strcmp(node->text, "true") == 0) {
		*out = true;
	} else if (node->kind == NODE_SCALAR && node->plain && strcmp(node->text, "false") == 0) {
		*out = false;
	} else {
		conf_value_expected(rd, opt, node, "true or false");
	}
}

/* A number of any type: its value, within min and max. */
static bool read_number(struct conf_reader *rd, const struct option *opt,
			const struct conf_node *node, uint64_t *out)
{
	const char *text = node->kind == NODE_SCALAR && node->plain ? node->text : "";
	enum status st = ST_EPARSE;
	char what[96];
	uint64_t value = 0;
	uint32_t number;

	switch (opt->type) {
	case OPT_SECONDS:
	case OPT_MILLISECONDS:
		st = conf_duration_parse(text, &value);
		snprintf(what, sizeof(what), "a duration such as 90s, 5m, 1h, 14d or 1y");
		break;
	case OPT_SIZE:
		st = conf_size_parse(text, &value);
		snprintf(what, sizeof(what), "a size such as 64K, 16M or 1G");
		break;
	default:
		st = text_to_u32(text, strlen(text), UINT32_MAX, &number);
		value = st == ST_OK ? number : 0;
		snprintf(what, sizeof(what), "a number from %llu to %llu",
			 (unsigned long long)opt->min, (unsigned long long)opt->max);
		break;
	}
	if (st == ST_OK && (value < opt->min || value > opt->max)) {
		size_t len = strlen(what);
		if (opt->type == OPT_SECONDS || opt->type == OPT_MILLISECONDS) {
			snprintf(what, sizeof(what), "a duration of %llu to %llu seconds",
				 (unsigned long long)opt->min, (unsigned long long)opt->max);
		} else if (opt->type == OPT_SIZE) {
			snprintf(what + len, sizeof(what) - len, ", %llu to %llu octets",
				 (unsigned long long)opt->min, (unsigned long long)opt->max);
		}
		st = ST_EPARSE;
	}
	if (st != ST_OK) {
		conf_value_expected(rd, opt, node, what);
		return false;
	}
	*out = value;
	return true;
}

/* Is 'word' one of "a|b|c"? Which one goes to *index. */
static bool choice_find(const char *choices, const char *word, unsigned *index)
{
	size_t len = strlen(word);

	for (unsigned i = 0; choices != NULL; i++) {
		size_t choice_len = strcspn(choices, "|");
		if (choice_len == len && strncmp(choices, word, len) == 0) {
			*index = i;
			return true;
		}
		choices = choices[choice_len] == '|' ? choices + choice_len + 1 : NULL;
	}
	return false;
}

/* "a, b or c" of "a|b|c". */
static void choices_text(const char *choices, char *out, size_t room)
{
	size_t len = 0;
	for (;;) {
		const char *bar = strchr(choices, '|');
		int n = bar != NULL ? (int)(bar - choices) : (int)strlen(choices);
		const char *after = bar == NULL ? "" : strchr(bar + 1, '|') != NULL ? ", " : " or ";
		int put = snprintf(out + len, room - len, "%.*s%s", n, choices, after);
		if (bar == NULL || put < 0 || (size_t)put >= room - len) {
			return;
		}
		len += (size_t)put;
		choices = bar + 1;
	}
}

/* '*out': the index of the word; where there are two words it may be a bool. */
static void read_choice(struct conf_reader *rd, const struct option *opt,
			const struct conf_node *node, uint8_t *out)
{
	const char *word = node->kind == NODE_SCALAR ? node->text : "";
	unsigned index;

	if (choice_find(opt->choices, word, &index)) {
		if (out != NULL) {
			*out = (uint8_t)index;
		}
	} else if (choice_find(opt->later, word, &index)) {
		conf_fault(&rd->faults, node->place, "'%s': '%s' is not supported by this version",
			   opt->name, word);
	} else {
		char what[96];
		choices_text(opt->choices, what, sizeof(what));
		conf_value_expected(rd, opt, node, what);
	}
}

static bool address_is_new(const struct conf_address *list, size_t count,
			   const struct conf_address *a)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].len == a->len && memcmp(&list[i].addr, &a->addr, a->len) == 0) {
			return false;
		}
	}
	return true;
}

static void read_addresses(struct conf_reader *rd, const struct option *opt,
			   const struct conf_node *node, void *section)
{
	struct conf_address **out = field_at(section, opt->offset);
	size_t *out_count = field_at(section, opt->count_offset);

	if (node->kind != NODE_LIST || node->count < opt->min || node->count > opt->max) {
		char what[80];
		snprintf(what, sizeof(what), "a list of %llu to %llu addresses",
			 (unsigned long long)opt->min, (unsigned long long)opt->max);
		conf_value_expected(rd, opt, node, what);
		return;
	}
	struct conf_address *list = calloc(node->count, sizeof(*list));
	if (list == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	size_t count = 0;
	for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
		const char *text = n->kind == NODE_SCALAR ? n->text : "";
		if (conf_address_parse(text, opt->port != 0 ? opt->port : DNS_PORT, &list[count]) !=
		    ST_OK) {
			conf_value_expected(rd, opt, n, "ADDRESS or ADDRESS@PORT");
		} else if (!address_is_new(list, count, &list[count])) {
			conf_fault(&rd->faults, n->place, "'%s': %s is given twice", opt->name,
				   list[count].text);
		} else {
			count++;
		}
	}
	free(*out);
	*out = list;
	*out_count = count;
}

static void read_name(struct conf_reader *rd, const struct option *opt,
		      const struct conf_node *node, uint8_t *out)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	const char *why = "expected a domain name";

	if (node->kind != NODE_SCALAR) {
		conf_value_expected(rd, opt, node, "a domain name");
		return;
	}
	if (name_from_text(node->text, strlen(node->text), NULL, name, &len, &why) != ST_OK) {
		conf_fault(&rd->faults, node->place, "'%s': %s: '%.300s'", opt->name, why,
			   node->text);
		return;
	}
	name_lower(out, name);
}

static const char *keystore_name_at(const struct conf *c, size_t i)
{
	return c->keystores[i].name;
}

static const char *policy_name_at(const struct conf *c, size_t i)
{
	return c->policies[i].name;
}

/* The index of the keystore or policy that is named. */
static bool read_reference(struct conf_reader *rd, const struct option *opt,
			   const struct conf_node *node, size_t *out)
{
	bool keystore = opt->type == OPT_KEYSTORE;
	const char *(*name_at)(const struct conf *, size_t) =
		keystore ? keystore_name_at : policy_name_at;
	size_t count = keystore ? rd->conf->keystore_count : rd->conf->policy_count;
	const char *what = keystore ? "keystore" : "policy";
	const char *near = NULL;

	if (node->kind != NODE_SCALAR) {
		conf_value_expected(rd, opt, node,
				    keystore ? "the name of a keystore" : "the name of a policy");
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		const char *name = name_at(rd->conf, i);
		if (name == NULL) {
			continue;
		}
		if (strcmp(name, node->text) == 0) {
			*out = i;
			return true;
		}
		if (conf_distance(name, node->text, 2) <= 2) {
			near = name;
		}
	}
	if (near != NULL && strlen(near) > 2) {
		conf_fault(&rd->faults, node->place, "there is no %s '%s'; did you mean '%s'?",
			   what, node->text, near);
	} else {
		conf_fault(&rd->faults, node->place, "there is no %s '%s'", what, node->text);
	}
	return false;
}

static void store_number(const struct option *opt, void *field, uint64_t value)
{
	switch (opt->type) {
	case OPT_NUMBER:
		*(unsigned *)field = (unsigned)value;
		break;
	case OPT_NUMBER16:
		*(uint16_t *)field = (uint16_t)value;
		break;
	case OPT_NUMBER64:
		*(int64_t *)field = (int64_t)value;
		break;
	case OPT_MILLISECONDS:
		*(uint32_t *)field = (uint32_t)(value * 1000);
		break;
	default:
		*(uint32_t *)field = (uint32_t)value;
		break;
	}
}

void conf_value_read(struct conf_reader *rd, const struct option *opt, const struct conf_node *node,
		     void *section)
{
	void *field = field_at(section, opt->offset);
	uint64_t value;
	size_t index;

	if (conf_node_is_null(node)) {
		conf_fault(&rd->faults, node->key_place, "'%s' has no value", opt->name);
		return;
	}
	switch (opt->type) {
	case OPT_TEXT:
	case OPT_PATH:
		read_text(rd, opt, node, field);
		break;
	case OPT_BOOL:
		read_bool(rd, opt, node, field);
		break;
	case OPT_CHOICE:
		read_choice(rd, opt, node, field);
		break;
	case OPT_ADDRESSES:
		read_addresses(rd, opt, node, section);
		break;
	case OPT_NAME:
		read_name(rd, opt, node, field);
		break;
	case OPT_KEYSTORE:
		if (read_reference(rd, opt, node, &index)) {
			*(size_t *)field = index;
		}
		break;
	case OPT_POLICY:
		if (read_reference(rd, opt, node, &index)) {
			*(int64_t *)field = (int64_t)index;
		}
		break;
	case OPT_TSIG_KEY:
		conf_read_tsig_key(rd, opt, node, field);
		break;
	case OPT_PEERS:
		conf_read_peers(rd, opt, node, section);
		break;
	case OPT_REMOTES:
		conf_read_remotes(rd, opt, node, section);
		break;
	case OPT_LATER:
		conf_fault(&rd->faults, node->key_place, "'%s' is not supported by this version",
			   opt->name);
		break;
	case OPT_MAP:
	case OPT_LIST:
		break;
	default:
		if (read_number(rd, opt, node, &value)) {
			store_number(opt, field, value);
		}
		break;
	}
}

void conf_value_initial(struct conf_reader *rd, const struct option *opt, void *section)
{
	const struct conf_faults *faults = &rd->faults;
	struct conf_node scalar = {.kind = NODE_SCALAR, .plain = true, .text = opt->initial};
	struct conf_node *node = &scalar;

	if (opt->type == OPT_ADDRESSES && conf_tree_read(opt->initial, strlen(opt->initial),
							 &rd->arena, faults, &node) != ST_OK) {
		rd->err = ST_ENOMEM;
		return;
	}
	conf_value_read(rd, opt, node, section);
}
