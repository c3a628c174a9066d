#include "nsd-core/conf_check.h"

#include "hsm/hsm.h"
#include "nsd-core/base/text.h"
#include "nsd-core/conf_catalogs.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define VALIDITY_OVER_REFRESH (14U * 86400)

/* Where a key's value stands; the map itself where it has none. */
static struct conf_place place_in(const struct conf_node *map, const char *key)
{
	const struct conf_node *node = map != NULL ? conf_tree_get(map, key) : NULL;

	if (node != NULL) {
		return node->place;
	}
	return map != NULL ? map->place : (struct conf_place){0, 0};
}

/* A file that must be there and be readable. st: of it, where true is returned. */
static bool check_file(struct conf_reader *rd, const struct conf_node *map, const char *key,
		       const char *path, struct stat *st)
{
	if (path == NULL || !rd->check_files) {
		return false;
	}
	if (stat(path, st) != 0 || access(path, R_OK) != 0) {
		conf_fault(&rd->faults, place_in(map, key), "'%s': %s: %s", key, path,
			   strerror(errno));
		return false;
	}
	if (!S_ISREG(st->st_mode)) {
		conf_fault(&rd->faults, place_in(map, key), "'%s': %s: not a file", key, path);
		return false;
	}
	return true;
}

static void check_user(struct conf_reader *rd, const struct conf_node *map, const char *user)
{
	struct passwd entry;
	struct passwd *found;
	char buf[4096];

	if (user == NULL || !rd->check_files) {
		return;
	}
	int err = getpwnam_r(user, &entry, buf, sizeof(buf), &found);
	if (found == NULL) {
		conf_fault(&rd->faults, place_in(map, "user"), "'user': there is no user '%s'%s%s",
			   user, err != 0 ? ": " : "", err != 0 ? strerror(err) : "");
	}
}

/* All three of them, or none. */
static void check_tls(struct conf_reader *rd, const struct conf_node *map,
		      const struct conf_server *s)
{
	static const char *const names[] = {"tls-listen", "tls-certificate", "tls-key"};
	const struct conf_node *given = NULL;
	struct stat st;

	for (size_t i = 0; i < 3 && given == NULL && map != NULL; i++) {
		given = conf_tree_get(map, names[i]);
	}
	for (size_t i = 0; i < 3 && given != NULL; i++) {
		if (conf_tree_get(map, names[i]) == NULL) {
			conf_fault(&rd->faults, given->place,
				   "'%s' is missing: TLS wants '%s', '%s' and '%s'", names[i],
				   names[0], names[1], names[2]);
		}
	}
	for (size_t i = 0; i < s->tls_listen_count; i++) {
		for (size_t k = 0; k < s->listen_count; k++) {
			if (strcmp(s->tls_listen[i].text, s->listen[k].text) == 0) {
				conf_fault(&rd->faults, place_in(map, "tls-listen"),
					   "'tls-listen': %s is one of 'listen' as well",
					   s->listen[k].text);
			}
		}
	}
	check_file(rd, map, "tls-certificate", s->tls_certificate, &st);
	if (check_file(rd, map, "tls-key", s->tls_key, &st) && (st.st_mode & S_IROTH) != 0) {
		conf_warning(&rd->faults, place_in(map, "tls-key"),
			     "'tls-key': %s: everybody can read it", s->tls_key);
	}
}

void conf_check_server(struct conf_reader *rd, const struct conf_node *map)
{
	const struct conf_server *s = &rd->conf->server;
	struct stat st;

	if (s->control != NULL &&
	    strlen(s->control) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		conf_fault(&rd->faults, place_in(map, "control"),
			   "'control': %s: longer than a socket's path may be (%zu octets)",
			   s->control, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	}
	if (s->state != NULL && rd->check_files && stat(s->state, &st) == 0 &&
	    !S_ISDIR(st.st_mode)) {
		conf_fault(&rd->faults, place_in(map, "state"), "'state': %s: not a directory",
			   s->state);
	}
	check_user(rd, map, s->user);
	check_tls(rd, map, s);
}

/* Was 'name' (NULL: missing, told already) used by an entry before? */
static void tell_name_twice(struct conf_reader *rd, const struct conf_node *map, const char *what,
			    const char *name, const char *before)
{
	if (name != NULL && before != NULL && strcmp(name, before) == 0) {
		conf_fault(&rd->faults, place_in(map, "name"), "%s '%s' is given twice", what,
			   name);
	}
}

static void check_pkcs11(struct conf_reader *rd, const struct conf_keystore *ks,
			 const struct conf_node *map)
{
	struct stat st;
	int ways = (conf_tree_get(map, "token") != NULL) + (conf_tree_get(map, "slot") != NULL) +
		   (conf_tree_get(map, "uri") != NULL);

	if (conf_tree_get(map, "module") == NULL) {
		conf_fault(&rd->faults, map->place, "'module' is missing");
	}
	if (ways != 1) {
		conf_fault(&rd->faults, map->place, "give %s of 'token', 'slot' and 'uri'",
			   ways == 0 ? "one" : "only one");
	}
	if (ks->uri != NULL && strncmp(ks->uri, "pkcs11:", 7) != 0) {
		conf_fault(&rd->faults, place_in(map, "uri"), "'uri': expected pkcs11:...");
	} else if (ks->uri != NULL && strstr(ks->uri, "pin-value") != NULL) {
		conf_fault(&rd->faults, place_in(map, "uri"),
			   "'uri': no PIN may stand here, use 'pin-file'");
	}
	check_file(rd, map, "module", ks->module, &st);
	if (check_file(rd, map, "pin-file", ks->pin_file, &st) && (st.st_mode & S_IROTH) != 0) {
		conf_warning(&rd->faults, place_in(map, "pin-file"),
			     "'pin-file': %s: everybody can read it", ks->pin_file);
	}
}

/* More than a warning: the keystore refuses it, too. */
static void check_passphrase(struct conf_reader *rd, const struct conf_keystore *ks,
			     const struct conf_node *map)
{
	struct stat st;

	if (check_file(rd, map, "passphrase-file", ks->passphrase_file, &st) &&
	    (st.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
		conf_fault(&rd->faults, place_in(map, "passphrase-file"),
			   "'passphrase-file': %s: others may use it (chmod 600)",
			   ks->passphrase_file);
	}
}

void conf_check_keystore(struct conf_reader *rd, size_t index, const struct conf_node *map)
{
	/* What only one kind of keystore has. */
	static const struct {
		const char *key;
		enum keystore_type type;
	} only[] = {
		{"module", KEYSTORE_PKCS11},	    {"token", KEYSTORE_PKCS11},
		{"slot", KEYSTORE_PKCS11},	    {"uri", KEYSTORE_PKCS11},
		{"pin-file", KEYSTORE_PKCS11},	    {"isolate", KEYSTORE_PKCS11},
		{"init-args", KEYSTORE_PKCS11},	    {"region", KEYSTORE_KMS},
		{"endpoint", KEYSTORE_KMS},	    {"profile", KEYSTORE_KMS},
		{"ca-file", KEYSTORE_KMS},	    {"rate", KEYSTORE_KMS},
		{"passphrase-file", KEYSTORE_FILE},
	};
	static const char *const types[] = {"pkcs11", "file", "aws-kms"};
	const struct conf_keystore *ks = &rd->conf->keystores[index];
	const struct conf_node *type = conf_tree_get(map, "type");

	for (size_t i = 0; i < index; i++) {
		tell_name_twice(rd, map, "keystore", ks->name, rd->conf->keystores[i].name);
	}
	if (type == NULL || type->kind != NODE_SCALAR || strcmp(type->text, types[ks->type]) != 0) {
		return; /* its fault was told of */
	}
	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++) {
		const struct conf_node *node = conf_tree_get(map, only[i].key);
		if (node != NULL && only[i].type != ks->type) {
			conf_fault(&rd->faults, node->key_place, "'%s' is for keystores of type %s",
				   node->key, types[only[i].type]);
		}
	}
	if (ks->type == KEYSTORE_FILE) {
		check_passphrase(rd, ks, map);
	}
	if (ks->type == KEYSTORE_PKCS11) {
		check_pkcs11(rd, ks, map);
	}
	if (ks->type == KEYSTORE_KMS) {
		struct stat st;
		check_file(rd, map, "ca-file", ks->ca_file, &st);
	}
}

static void check_roles(struct conf_reader *rd, const struct conf_node *map)
{
	const struct conf_node *ksk = conf_tree_get(map, "ksk");
	const struct conf_node *zsk = conf_tree_get(map, "zsk");
	const struct conf_node *csk = conf_tree_get(map, "csk");

	if (csk != NULL && (ksk != NULL || zsk != NULL)) {
		conf_fault(&rd->faults, csk->key_place, "'csk' excludes 'ksk' and 'zsk'");
	} else if (csk == NULL && ksk != NULL && zsk == NULL) {
		conf_fault(&rd->faults, ksk->key_place,
			   "'ksk' without 'zsk' (one key for both is called 'csk')");
	} else if (csk == NULL && ksk == NULL && zsk != NULL) {
		conf_fault(&rd->faults, zsk->key_place,
			   "'zsk' without 'ksk' (one key for both is called 'csk')");
	} else if (csk == NULL && ksk == NULL) {
		conf_fault(&rd->faults, map->place, "no keys: give 'ksk' and 'zsk', or 'csk'");
	}
}

/* What can be said of a key's name without its keystore. */
static void check_key(struct conf_reader *rd, const struct conf_key *key,
		      const struct conf_node *map)
{
	uint8_t id[HSM_ID_MAX];
	size_t len = key->key != NULL ? strlen(key->key) : 0;

	if (key->key == NULL || rd->conf->keystore_count == 0) {
		return;
	}
	if (key->shared) {
		conf_fault(&rd->faults, place_in(map, "shared"),
			   "'shared' is for keys that are made, and 'key' names one: all zones of "
			   "the policy have it");
	}
	if (strstr(key->key, "pin-value") != NULL && strncmp(key->key, "pkcs11:", 7) == 0) {
		conf_fault(&rd->faults, place_in(map, "key"),
			   "'key': no PIN may stand here, use the keystore's 'pin-file'");
	}
	if (rd->conf->keystores[key->keystore].type != KEYSTORE_FILE) {
		return;
	}
	if (len > 4 && strcmp(key->key + len - 4, ".pem") == 0) {
		len -= 4;
	}
	if (hex_decode(key->key, len, id, sizeof(id), &len) != ST_OK) {
		conf_fault(&rd->faults, place_in(map, "key"),
			   "'key': a key of type file is named by its file, an id in hex");
	}
}

static void check_keys(struct conf_reader *rd, const struct conf_policy *p,
		       const struct conf_node *map)
{
	const struct {
		const char *role;
		const struct conf_key *key;
	} keys[] = {{"ksk", &p->ksk}, {"zsk", &p->zsk}, {"csk", &p->csk}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct conf_node *node = conf_tree_get(map, keys[i].role);
		if (node != NULL && node->kind == NODE_MAP) {
			check_key(rd, keys[i].key, node);
		}
	}
	if (p->ksk.key != NULL && p->zsk.key != NULL && p->ksk.keystore == p->zsk.keystore &&
	    strcmp(p->ksk.key, p->zsk.key) == 0) {
		conf_fault(&rd->faults, place_in(conf_tree_get(map, "zsk"), "key"),
			   "'ksk' and 'zsk' name one key (one key for both is called 'csk')");
	}
}

void conf_check_policy(struct conf_reader *rd, size_t index, const struct conf_node *map)
{
	struct conf_policy *p = &rd->conf->policies[index];

	for (size_t i = 0; i < index; i++) {
		tell_name_twice(rd, map, "policy", p->name, rd->conf->policies[i].name);
	}
	check_roles(rd, map);
	check_keys(rd, p, map);
	if (p->nsec3_opt_out && !p->nsec3) {
		conf_fault(&rd->faults, place_in(map, "nsec3-opt-out"),
			   "'nsec3-opt-out' is for 'denial: nsec3'");
	}
	p->refresh_given = conf_tree_get(map, "signature-refresh") != NULL;
	p->validity_given = conf_tree_get(map, "signature-validity") != NULL;
	if (!p->validity_given) {
		p->validity_s = p->refresh_s + VALIDITY_OVER_REFRESH;
	} else if (p->validity_s != 0 && p->refresh_s != 0 && p->validity_s <= p->refresh_s) {
		conf_fault(&rd->faults, place_in(map, "signature-validity"),
			   "'signature-validity' is not longer than 'signature-refresh' (%us)",
			   p->refresh_s);
	}
}

void conf_check_tsig_key(struct conf_reader *rd, size_t index, const struct conf_node *map)
{
	const struct conf_tsig_key *key = &rd->conf->tsig_keys[index];
	const struct conf_node *name = conf_tree_get(map, "name");
	struct stat st;

	for (size_t i = 0; i < index && name != NULL; i++) {
		if (name_equal(key->name, rd->conf->tsig_keys[i].name)) {
			conf_fault(&rd->faults, name->place, "TSIG key '%.300s' is given twice",
				   name->kind == NODE_SCALAR ? name->text : "");
		}
	}
	if (check_file(rd, map, "secret-file", key->secret_file, &st) &&
	    (st.st_mode & S_IROTH) != 0) {
		conf_warning(&rd->faults, place_in(map, "secret-file"),
			     "'secret-file': %s: everybody can read it", key->secret_file);
	}
}

void conf_check_remote(struct conf_reader *rd, size_t index, const struct conf_node *map)
{
	const struct conf_remote *remote = &rd->conf->remotes[index];

	for (size_t i = 0; i < index; i++) {
		tell_name_twice(rd, map, "remote", remote->name, rd->conf->remotes[i].name);
	}
}

/* Did the name's text make a name? A bad one is told already, and left the root's. */
static bool has_name(const struct conf_zone_entry *entry, const struct conf_node *node)
{
	return entry->zone.name[0] != 0 ||
	       (node->kind == NODE_SCALAR && strcmp(node->text, ".") == 0);
}

/* What we sign changes without its file, and no secondary would notice. */
static void check_keep(struct conf_reader *rd, const struct conf_node *serial)
{
	if (serial->kind == NODE_SCALAR && strcmp(serial->text, "keep") == 0) {
		conf_fault(&rd->faults, serial->place,
			   "'serial': keep is for zones without a policy: signatures change, and "
			   "the serial with them");
	}
}

bool conf_check_zone(struct conf_reader *rd, const struct conf_zone_entry *entry,
		     const struct conf_node *map)
{
	const struct conf_node *name = conf_tree_get(map, "name");
	const struct conf_node *file = conf_tree_get(map, "file");
	const struct conf_node *directory = conf_tree_get(map, "directory");
	struct stat st;

	if (entry->zone.is_catalog) {
		return conf_check_made(rd, entry, map);
	}
	check_file(rd, map, "file", entry->zone.file, &st);
	if (entry->zone.policy >= 0 && conf_tree_get(map, "serial") != NULL &&
	    entry->zone.serial == SERIAL_KEEP) {
		check_keep(rd, conf_tree_get(map, "serial"));
	}
	if (directory != NULL) {
		const struct conf_node *other = name != NULL ? name : file;
		if (other != NULL) {
			conf_fault(&rd->faults, other->key_place,
				   "'%s' and 'directory' exclude "
				   "each other",
				   other->key);
		}
		return entry->directory != NULL && other == NULL;
	}
	if (name == NULL) {
		conf_fault(&rd->faults, map->place, "'name' is missing (or 'directory')");
	}
	if (file == NULL) {
		conf_fault(&rd->faults, map->place, "'file' is missing");
	}
	return name != NULL && entry->zone.file != NULL && has_name(entry, name);
}
