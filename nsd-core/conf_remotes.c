/* Values that speak of other servers: addresses and ranges, names of remotes and of TSIG keys. */
#include "nsd-core/base/text.h"
#include "nsd-core/conf_value.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define DNS_PORT 53

/* Are the bits behind the prefix zero? A range that is written otherwise is a slip. */
static bool range_is_clean(const struct conf_peer *p)
{
	const uint8_t *octets;
	unsigned bits;

	if (p->at.addr.ss_family == AF_INET) {
		octets = (const uint8_t *)&((const struct sockaddr_in *)&p->at.addr)->sin_addr;
		bits = 32;
	} else {
		octets = (const uint8_t *)&((const struct sockaddr_in6 *)&p->at.addr)->sin6_addr;
		bits = 128;
	}
	for (unsigned i = p->prefix; i < bits; i++) {
		if ((octets[i / 8] & (0x80U >> i % 8)) != 0) {
			return false;
		}
	}
	return true;
}

/* "ADDRESS@PORT" or "ADDRESS/BITS". */
static enum status peer_parse(const char *text, struct conf_peer *out)
{
	struct conf_peer p = {.is_range = false};
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	uint32_t bits;

	if (slash == NULL) {
		*out = p;
		return conf_address_parse(text, DNS_PORT, &out->at);
	}
	size_t len = (size_t)(slash - text);
	if (len >= sizeof(address) || memchr(text, '@', len) != NULL) {
		return ST_EPARSE;
	}
	memcpy(address, text, len);
	address[len] = '\0';
	enum status st = conf_address_parse(address, DNS_PORT, &p.at);
	uint32_t most = p.at.addr.ss_family == AF_INET ? 32 : 128;
	if (st != ST_OK || text_to_u32(slash + 1, strlen(slash + 1), most, &bits) != ST_OK) {
		return ST_EPARSE;
	}
	p.is_range = true;
	p.prefix = (uint8_t)bits;
	snprintf(p.at.text, sizeof(p.at.text), "%s/%u", address, bits);
	*out = p;
	return ST_OK;
}

static bool peer_is_new(const struct conf_peer *list, size_t count, const struct conf_peer *p)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].at.text, p->at.text) == 0) {
			return false;
		}
	}
	return true;
}

static void read_peer(struct conf_reader *rd, const struct option *opt,
		      const struct conf_node *node, struct conf_peer *list, size_t *count)
{
	struct conf_peer *p = &list[*count];

	if (peer_parse(node->kind == NODE_SCALAR ? node->text : "", p) != ST_OK) {
		conf_value_expected(rd, opt, node, "ADDRESS, ADDRESS@PORT or ADDRESS/BITS");
	} else if (p->is_range && !range_is_clean(p)) {
		conf_fault(&rd->faults, node->place, "'%s': %s: bits are set behind the prefix",
			   opt->name, p->at.text);
	} else if (!peer_is_new(list, *count, p)) {
		conf_fault(&rd->faults, node->place, "'%s': %s is given twice", opt->name,
			   p->at.text);
	} else {
		(*count)++;
	}
}

void conf_read_peers(struct conf_reader *rd, const struct option *opt, const struct conf_node *node,
		     void *section)
{
	struct conf_peer **out = (struct conf_peer **)((char *)section + opt->offset);
	size_t *out_count = (size_t *)((char *)section + opt->count_offset);
	size_t room = node->kind == NODE_LIST ? node->count : 1;

	if (node->kind == NODE_MAP || room == 0 || room > opt->max) {
		conf_value_expected(rd, opt, node, "an address, or a list of some");
		return;
	}
	struct conf_peer *list = calloc(room, sizeof(*list));
	if (list == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	size_t count = 0;
	if (node->kind == NODE_SCALAR) {
		read_peer(rd, opt, node, list, &count);
	}
	for (const struct conf_node *n = node->kind == NODE_LIST ? node->first : NULL; n != NULL;
	     n = n->next) {
		read_peer(rd, opt, n, list, &count);
	}
	*out = list;
	*out_count = count;
}

static bool find_remote(struct conf_reader *rd, const struct option *opt,
			const struct conf_node *node, size_t *out)
{
	const struct conf *c = rd->conf;

	if (node->kind != NODE_SCALAR) {
		conf_value_expected(rd, opt, node, "the name of a remote");
		return false;
	}
	for (size_t i = 0; i < c->remote_count; i++) {
		if (c->remotes[i].name != NULL && strcmp(c->remotes[i].name, node->text) == 0) {
			*out = i;
			return true;
		}
	}
	conf_fault(&rd->faults, node->place, "there is no remote '%s'", node->text);
	return false;
}

void conf_read_remotes(struct conf_reader *rd, const struct option *opt,
		       const struct conf_node *node, void *section)
{
	size_t **out = (size_t **)((char *)section + opt->offset);
	size_t *out_count = (size_t *)((char *)section + opt->count_offset);

	if (node->kind != NODE_LIST || node->count < opt->min || node->count > opt->max) {
		conf_value_expected(rd, opt, node, "a list of names of remotes");
		return;
	}
	size_t *list = calloc(node->count, sizeof(*list));
	if (list == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	size_t count = 0;
	for (const struct conf_node *n = node->first; n != NULL; n = n->next) {
		size_t index;
		bool twice = false;
		if (!find_remote(rd, opt, n, &index)) {
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			twice |= list[i] == index;
		}
		if (twice) {
			conf_fault(&rd->faults, n->place, "'%s': %s is given twice", opt->name,
				   n->text);
		} else {
			list[count++] = index;
		}
	}
	*out = list;
	*out_count = count;
}

void conf_read_tsig_key(struct conf_reader *rd, const struct option *opt,
			const struct conf_node *node, int64_t *out)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;

	if (node->kind != NODE_SCALAR ||
	    name_from_text(node->text, strlen(node->text), NULL, name, &len, NULL) != ST_OK) {
		conf_value_expected(rd, opt, node, "the name of a TSIG key");
		return;
	}
	for (size_t i = 0; i < rd->conf->tsig_key_count; i++) {
		if (name_equal(rd->conf->tsig_keys[i].name, name)) {
			*out = (int64_t)i;
			return;
		}
	}
	conf_fault(&rd->faults, node->place, "there is no TSIG key '%.300s'", node->text);
}
