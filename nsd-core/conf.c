#include "nsd-core/conf.h"

#include "nsd-core/conf_check.h"
#include "nsd-core/conf_zones.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_FILE_MAX (64U << 20)
#define KEYSTORES_MAX 64
#define POLICIES_MAX  256
#define TSIG_KEYS_MAX 256
#define REMOTES_MAX   256

static void unknown_key(struct conf_reader *rd, enum option_section section,
			const struct conf_node *node)
{
	const char *near = conf_option_near(section, node->key);
	const char *in = conf_section_name(section);
	const char *where = in[0] != '\0' ? " in " : "";

	if (near != NULL) {
		conf_fault(&rd->faults, node->key_place, "unknown key '%s'%s%s; did you mean '%s'?",
			   node->key, where, in, near);
	} else {
		conf_fault(&rd->faults, node->key_place, "unknown key '%s'%s%s", node->key, where,
			   in);
	}
}

/* All of a section's options but maps and lists, into its struct. Without a map: the initial
 * values. */
static void read_section(struct conf_reader *rd, enum option_section section,
			 const struct conf_node *map, void *out)
{
	for (const struct conf_node *n = map != NULL ? map->first : NULL; n != NULL; n = n->next) {
		if (conf_option_find(section, n->key) == NULL) {
			unknown_key(rd, section, n);
		}
	}
	for (size_t i = 0; i < conf_option_count && rd->err == ST_OK; i++) {
		const struct option *opt = &conf_options[i];
		if (opt->section != section) {
			continue;
		}
		const struct conf_node *node = map != NULL ? conf_tree_get(map, opt->name) : NULL;
		if (node != NULL) {
			conf_value_read(rd, opt, node, out);
		} else if (opt->initial != NULL) {
			conf_value_initial(rd, opt, out);
		} else if (opt->required) {
			conf_fault(&rd->faults, map->place, "'%s' is missing", opt->name);
		}
	}
}

/* NULL where it is absent, without a value (told already), or of another kind, which is a fault. */
static const struct conf_node *get_kind(struct conf_reader *rd, const struct conf_node *map,
					const char *key, enum conf_node_kind kind)
{
	char found[64];
	const struct conf_node *node = conf_tree_get(map, key);

	if (node == NULL || node->kind == kind) {
		return node;
	}
	if (!conf_node_is_null(node)) {
		conf_fault(&rd->faults, node->place, "'%s': expected %s, found %s", key,
			   kind == NODE_MAP ? "a map" : "a list",
			   conf_node_text(node, found, sizeof(found)));
	}
	return NULL;
}

/* A list of maps under 'key'; entries that are none are faults. */
static const struct conf_node *get_list(struct conf_reader *rd, const struct conf_node *root,
					const char *key, size_t max)
{
	const struct conf_node *list = get_kind(rd, root, key, NODE_LIST);
	char found[64];

	if (list == NULL) {
		return NULL;
	}
	if (list->count > max) {
		conf_fault(&rd->faults, list->place, "'%s': more than %zu entries", key, max);
		return NULL;
	}
	for (const struct conf_node *n = list->first; n != NULL; n = n->next) {
		if (n->kind != NODE_MAP) {
			conf_fault(&rd->faults, n->place, "'%s': expected a map, found %s", key,
				   conf_node_text(n, found, sizeof(found)));
		}
	}
	return list;
}

static unsigned cpus_available(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0) {
		return 1;
	}
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

static void read_server(struct conf_reader *rd, const struct conf_node *root)
{
	struct conf_server *server = &rd->conf->server;
	const struct conf_node *map = get_kind(rd, root, "server", NODE_MAP);

	read_section(rd, SECTION_SERVER, map, server);
	if (server->workers == 0) {
		server->workers = cpus_available();
	}
	if (rd->err == ST_OK) {
		conf_check_server(rd, map);
	}
}

static void read_keystores(struct conf_reader *rd, const struct conf_node *root)
{
	struct conf *c = rd->conf;
	const struct conf_node *list = get_list(rd, root, "keystores", KEYSTORES_MAX);

	if (list == NULL || list->count == 0) {
		return;
	}
	c->keystores = calloc(list->count, sizeof(*c->keystores));
	if (c->keystores == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	for (const struct conf_node *n = list->first; n != NULL && rd->err == ST_OK; n = n->next) {
		if (n->kind != NODE_MAP) {
			continue;
		}
		struct conf_keystore *ks = &c->keystores[c->keystore_count++];
		ks->slot = -1;
		read_section(rd, SECTION_KEYSTORE, n, ks);
		conf_check_keystore(rd, c->keystore_count - 1, n);
	}
}

static void read_key(struct conf_reader *rd, const struct conf_node *policy, const char *role,
		     struct conf_key *key)
{
	const struct conf_node *map = get_kind(rd, policy, role, NODE_MAP);

	if (map != NULL) {
		key->present = true;
		read_section(rd, SECTION_KEY, map, key);
	}
}

static void read_policies(struct conf_reader *rd, const struct conf_node *root)
{
	struct conf *c = rd->conf;
	const struct conf_node *list = get_list(rd, root, "policies", POLICIES_MAX);

	if (list == NULL || list->count == 0) {
		return;
	}
	c->policies = calloc(list->count, sizeof(*c->policies));
	if (c->policies == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	for (const struct conf_node *n = list->first; n != NULL && rd->err == ST_OK; n = n->next) {
		if (n->kind != NODE_MAP) {
			continue;
		}
		struct conf_policy *p = &c->policies[c->policy_count++];
		read_section(rd, SECTION_POLICY, n, p);
		read_key(rd, n, "ksk", &p->ksk);
		read_key(rd, n, "zsk", &p->zsk);
		read_key(rd, n, "csk", &p->csk);
		conf_check_policy(rd, c->policy_count - 1, n);
	}
}

static void read_tsig_keys(struct conf_reader *rd, const struct conf_node *root)
{
	struct conf *c = rd->conf;
	const struct conf_node *list = get_list(rd, root, "tsig-keys", TSIG_KEYS_MAX);

	if (list == NULL || list->count == 0) {
		return;
	}
	c->tsig_keys = calloc(list->count, sizeof(*c->tsig_keys));
	if (c->tsig_keys == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	for (const struct conf_node *n = list->first; n != NULL && rd->err == ST_OK; n = n->next) {
		if (n->kind != NODE_MAP) {
			continue;
		}
		read_section(rd, SECTION_TSIG_KEY, n, &c->tsig_keys[c->tsig_key_count++]);
		conf_check_tsig_key(rd, c->tsig_key_count - 1, n);
	}
}

static void read_remotes(struct conf_reader *rd, const struct conf_node *root)
{
	struct conf *c = rd->conf;
	const struct conf_node *list = get_list(rd, root, "remotes", REMOTES_MAX);

	if (list == NULL || list->count == 0) {
		return;
	}
	c->remotes = calloc(list->count, sizeof(*c->remotes));
	if (c->remotes == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	for (const struct conf_node *n = list->first; n != NULL && rd->err == ST_OK; n = n->next) {
		if (n->kind != NODE_MAP) {
			continue;
		}
		struct conf_remote *r = &c->remotes[c->remote_count++];
		r->tsig_key = -1;
		read_section(rd, SECTION_REMOTE, n, r);
		conf_check_remote(rd, c->remote_count - 1, n);
	}
}

static void read_zones(struct conf_reader *rd, const struct conf_node *root)
{
	const struct conf_node *list = get_list(rd, root, "zones", CONF_ZONES_MAX);
	struct conf_zone_list zones = {0};

	for (const struct conf_node *n = list != NULL ? list->first : NULL;
	     n != NULL && rd->err == ST_OK; n = n->next) {
		struct conf_zone_entry entry = {.zone.policy = -1};
		if (n->kind != NODE_MAP) {
			continue;
		}
		read_section(rd, SECTION_ZONE, n, &entry);
		entry.zone.is_catalog = conf_tree_get(n, "make") != NULL;
		if (rd->err == ST_OK && conf_check_zone(rd, &entry, n)) {
			conf_zones_add(rd, &zones, &entry, n);
		}
		free(entry.zone.file);
		free(entry.zone.parent);
		free(entry.zone.secondaries);
		free(entry.directory);
		free(entry.catalog_group);
	}
	conf_zones_finish(rd, &zones);
	if (rd->conf->zone_count == 0 && rd->found.errors == 0) {
		conf_warning(&rd->faults, root->place, "no zone is configured");
	}
}

static void read_root(struct conf_reader *rd, const char *text, size_t len)
{
	struct conf_node *root;
	enum status st = conf_tree_read(text, len, &rd->arena, &rd->faults, &root);

	if (st != ST_OK) {
		rd->err = st == ST_ENOMEM ? ST_ENOMEM : ST_OK;
		return;
	}
	if (root->kind != NODE_MAP) {
		conf_fault(&rd->faults, root->place, "expected a map of server, keystores, ...");
		return;
	}
	read_section(rd, SECTION_ROOT, root, NULL);
	read_server(rd, root);
	read_keystores(rd, root);
	read_policies(rd, root);
	read_tsig_keys(rd, root);
	read_remotes(rd, root);
	if (rd->err == ST_OK) {
		read_zones(rd, root);
	}
}

/* In the order of the file, whatever order they were found in. */
static int finding_compare(const void *a, const void *b)
{
	const struct diag *x = a;
	const struct diag *y = b;

	if (x->line != y->line) {
		return x->line < y->line ? -1 : 1;
	}
	return x->column < y->column ? -1 : x->column > y->column;
}

enum status conf_read_mem(const char *name, const char *text, size_t len, bool check_files,
			  struct conf **out, struct diags *d)
{
	struct conf_reader rd = {.check_files = check_files};
	const char *slash = strrchr(name, '/');
	enum status st = ST_ENOMEM;
	char *directory = slash != NULL ? strndup(name, (size_t)(slash - name) + 1) : strdup("");

	arena_init(&rd.arena, (size_t)1 << 16);
	diags_init(&rd.found, d != NULL ? d->limit : 1);
	rd.faults = (struct conf_faults){&rd.found, name};
	rd.conf = calloc(1, sizeof(*rd.conf));
	if (directory == NULL || rd.conf == NULL) {
		goto out;
	}
	rd.directory = directory;
	rd.conf->path = conf_strdup(&rd, name);
	if (rd.err == ST_OK) {
		read_root(&rd, text, len);
	}
	st = rd.err;
	if (st == ST_OK && rd.found.errors > 0) {
		st = ST_EPARSE;
	}
	if (st == ST_OK) {
		*out = rd.conf;
		rd.conf = NULL;
	}
out:
	if (d != NULL) {
		if (rd.found.count > 1) {
			qsort(rd.found.items, rd.found.count, sizeof(*rd.found.items),
			      finding_compare);
		}
		diags_take(d, &rd.found);
	}
	diags_fini(&rd.found);
	conf_free(rd.conf);
	arena_fini(&rd.arena);
	free(directory);
	return st;
}

/* The whole file; heap, *len octets. */
static enum status read_file(const char *path, char **out, size_t *len)
{
	struct stat st;
	enum status result = ST_OK;
	char *text = NULL;
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0) {
		result = status_from_errno(errno);
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONF_FILE_MAX) {
		result = S_ISREG(st.st_mode) ? ST_ESPACE : ST_EIO;
		goto out;
	}
	size_t size = (size_t)st.st_size;
	text = malloc(size + 1);
	if (text == NULL) {
		result = ST_ENOMEM;
		goto out;
	}
	while (used < size) {
		ssize_t n = read(fd, text + used, size - used);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			result = status_from_errno(errno);
			goto out;
		}
		if (n == 0) {
			break;
		}
		used += (size_t)n;
	}
	*out = text;
	*len = used;
	text = NULL;
out:
	if (fd >= 0) {
		close(fd);
	}
	free(text);
	return result;
}

enum status conf_read(const char *path, struct conf **out, struct diags *d)
{
	char *text = NULL;
	size_t len = 0;
	enum status st = read_file(path, &text, &len);

	if (st != ST_OK) {
		diags_add(d, DIAG_ERROR, path, 0, 0, "cannot be read: %s", status_text(st));
		return st;
	}
	st = conf_read_mem(path, text, len, true, out, d);
	free(text);
	return st;
}

void conf_free(struct conf *c)
{
	if (c == NULL) {
		return;
	}
	free(c->path);
	free(c->server.listen);
	free(c->server.tls_listen);
	free(c->server.tls_certificate);
	free(c->server.tls_key);
	free(c->server.state);
	free(c->server.control);
	free(c->server.user);
	free(c->server.nsid);
	free(c->server.version);
	free(c->server.identity);
	for (size_t i = 0; i < c->keystore_count; i++) {
		struct conf_keystore *ks = &c->keystores[i];
		free(ks->name);
		free(ks->module);
		free(ks->token);
		free(ks->uri);
		free(ks->pin_file);
		free(ks->init_args);
		free(ks->passphrase_file);
		free(ks->region);
		free(ks->endpoint);
		free(ks->profile);
		free(ks->ca_file);
	}
	free(c->keystores);
	for (size_t i = 0; i < c->policy_count; i++) {
		free(c->policies[i].name);
		free(c->policies[i].ksk.key);
		free(c->policies[i].zsk.key);
		free(c->policies[i].csk.key);
	}
	free(c->policies);
	for (size_t i = 0; i < c->tsig_key_count; i++) {
		free(c->tsig_keys[i].secret_file);
	}
	free(c->tsig_keys);
	for (size_t i = 0; i < c->remote_count; i++) {
		free(c->remotes[i].name);
		free(c->remotes[i].peers);
	}
	free(c->remotes);
	for (size_t i = 0; i < c->zone_count; i++) {
		free(c->zones[i].file);
		free(c->zones[i].parent);
		free(c->zones[i].secondaries);
		free(c->zones[i].catalog_group);
	}
	free(c->zones);
	free(c);
}
