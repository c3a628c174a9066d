/* 'key import': a key of BIND's into a keystore, by signetctl itself: the private number goes over
 * no socket, and the server need not be able to read the file. */
#include "nsd-core/ctl.h"

#include "hsm/hsm.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"
#include "nsd-core/control_probe.h"
#include "nsd-core/privileges.h"
#include "nsd-core/zonemgr.h"
#include "signer/bind_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The pair as it was read. */
struct import {
	const struct conf *conf;
	const struct command *cmd;
	struct reply *r;
	uint8_t zone[NAME_MAX_LEN];
	char *private_path;
	char *key_path;
	uint8_t number[HSM_PRIVATE_LEN];
	struct bind_dnskey dnskey;
	enum key_role role;
	uint16_t tag;
};

static void fail_with(struct import *im, const struct diags *d, enum status st)
{
	char line[1024];

	reply_fail(im->r, EXIT_FAILED, "%s",
		   d->count > 0 ? diag_format(&d->items[0], line, sizeof(line)) : status_text(st));
}

/* FILE is either of the two, or what they have in common. */
static bool name_files(struct import *im)
{
	const char *file = im->cmd->file;
	size_t len = strlen(file);
	int n = (int)len;

	if (len > 8 && strcmp(file + len - 8, ".private") == 0) {
		n -= 8;
	} else if (len > 4 && strcmp(file + len - 4, ".key") == 0) {
		n -= 4;
	} else if (len > 1 && file[len - 1] == '.') {
		n -= 1;
	}
	if (asprintf(&im->private_path, "%.*s.private", n, file) < 0) {
		im->private_path = NULL;
	}
	if (asprintf(&im->key_path, "%.*s.key", n, file) < 0) {
		im->key_path = NULL;
	}
	return im->private_path != NULL && im->key_path != NULL;
}

/* The whole file; *mode is its own. */
static bool read_file(struct import *im, const char *path, char buf[BIND_FILE_MAX], size_t *len,
		      mode_t *mode)
{
	struct stat sb;
	size_t have = 0;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0 && fstat(fd, &sb) == 0) {
		do {
			n = read(fd, buf + have, BIND_FILE_MAX - have);
			have += n > 0 ? (size_t)n : 0;
		} while (have < BIND_FILE_MAX && (n > 0 || (n < 0 && errno == EINTR)));
	}
	int err = errno;
	if (fd >= 0) {
		close(fd);
	}
	if (n < 0) {
		reply_fail(im->r, EXIT_FAILED, "%s: %s", path, strerror(err));
		return false;
	}
	if (have == BIND_FILE_MAX) {
		reply_fail(im->r, EXIT_FAILED, "%s: too long for a key's file", path);
		return false;
	}
	*len = have;
	*mode = sb.st_mode;
	return true;
}

static bool read_private(struct import *im)
{
	char text[BIND_FILE_MAX];
	size_t len;
	mode_t mode;
	struct diags d;
	bool good = false;

	diags_init(&d, 1);
	if (!read_file(im, im->private_path, text, &len, &mode)) {
		goto out;
	}
	if ((mode & (S_IRWXG | S_IRWXO)) != 0) {
		reply_note(im->r, "warning: %s: mode %04o: others may read the private key",
			   im->private_path, (unsigned)(mode & 07777));
	}
	enum status st = bind_private_parse(im->private_path, text, len, im->number, &d);
	good = st == ST_OK;
	if (!good) {
		fail_with(im, &d, st);
	}
out:
	wipe(text, sizeof(text));
	diags_fini(&d);
	return good;
}

static bool read_dnskey(struct import *im)
{
	char text[BIND_FILE_MAX];
	size_t len;
	mode_t mode;
	struct diags d;

	if (!read_file(im, im->key_path, text, &len, &mode)) {
		return false;
	}
	diags_init(&d, 1);
	enum status st = bind_dnskey_parse(im->key_path, text, len, &im->dnskey, &d);
	if (st != ST_OK) {
		fail_with(im, &d, st);
	}
	diags_fini(&d);
	return st == ST_OK;
}

/* The flags say the role: a csk is told from a ksk by the operator only. */
static bool choose_role(struct import *im)
{
	const char *role = im->cmd->role;
	bool sep = im->dnskey.flags == 257;

	im->role = sep ? KEY_KSK : KEY_ZSK;
	if (role == NULL) {
		return true;
	}
	if ((strcmp(role, "zsk") == 0) == sep) {
		reply_fail(im->r, EXIT_FAILED, "%s: flags %u are not those of a %s", im->key_path,
			   im->dnskey.flags, role);
		return false;
	}
	im->role = strcmp(role, "csk") == 0 ? KEY_CSK : im->role;
	return true;
}

/* The two files are of one key, and that is the zone's. */
static bool check_pair(struct import *im)
{
	uint8_t point[HSM_PUBLIC_LEN];
	struct key key = {.flags = im->dnskey.flags};
	uint8_t rdata[4 + HSM_PUBLIC_LEN];
	char name[NAME_TEXT_MAX];

	if (!name_equal(im->dnskey.owner, im->zone)) {
		reply_fail(im->r, EXIT_FAILED, "%s: a key of %s, not of %s", im->key_path,
			   name_to_text(im->dnskey.owner, name), im->cmd->zone);
		return false;
	}
	if (hsm_public_of(im->number, point) != ST_OK) {
		reply_fail(im->r, EXIT_FAILED, "%s: the private key is none of ECDSA P-256",
			   im->private_path);
		return false;
	}
	if (memcmp(point, im->dnskey.public_point, HSM_PUBLIC_LEN) != 0) {
		reply_fail(im->r, EXIT_FAILED, "%s and %s are of two keys", im->private_path,
			   im->key_path);
		return false;
	}
	memcpy(key.public_point, point, HSM_PUBLIC_LEN);
	im->tag = dnskey_tag(rdata, dnskey_rdata(&key, rdata));
	return true;
}

static void tell(struct import *im, const struct hsm_key *key)
{
	char id[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char zone[NAME_TEXT_MAX];
	size_t len;
	const uint8_t *octets = hsm_key_id(key, &len);
	const char *role = key_role_text(im->role);
	struct reply_text out;

	key_id_text(octets, len, id);
	name_to_text(im->zone, zone);
	reply_text_open(&out);
	if (out.f != NULL) {
		fprintf(out.f,
			"keystore %s: the %s %u of %s is key %s\n"
			"in the policy:\n"
			"    %s: { keystore: %s, key: \"%s\" }\n",
			im->cmd->keystore, role, im->tag, zone, id, role, im->cmd->keystore, id);
	}
	reply_text_close(&out, im->r);
	im->r->data = json_pack("{s:i, s:s, s:s, s:i, s:o, s:s}", "version", CONTROL_VERSION,
				"zone", zone, "role", role, "tag", (int)im->tag, "keystore",
				reply_string(im->cmd->keystore), "id", id);
}

/* As the user that the server runs as, whose the key is to be. */
static enum status bring(struct import *im, size_t index, struct diags *d)
{
	char *folder = NULL;
	char day[24];
	char zone[NAME_TEXT_MAX];
	char label[NAME_TEXT_MAX + 48];
	struct keystore *ks = NULL;
	struct hsm_key *key = NULL;

	if (asprintf(&folder, "%s/keys", im->conf->server.state) < 0) {
		return ST_ENOMEM;
	}
	time_to_text(clock_wall_s(), day);
	snprintf(label, sizeof(label), "%s/%s/%.10s, imported", name_to_text(im->zone, zone),
		 key_role_text(im->role), day);
	enum status st = keystore_from_conf(&im->conf->keystores[index], folder, &ks, d);
	if (st == ST_OK) {
		st = keystore_import(ks, label, im->number, &key, d);
	}
	if (st == ST_OK) {
		tell(im, key);
	}
	hsm_key_unref(key);
	keystore_free(ks);
	free(folder);
	return st;
}

static void import(struct import *im)
{
	size_t index;
	size_t len;
	const char *why = "not a domain name";
	struct diags d;
	const char *zone = im->cmd->zone;
	uint8_t name[NAME_MAX_LEN];

	if (name_from_text(zone, strlen(zone), NULL, name, &len, &why) != ST_OK) {
		reply_fail(im->r, EXIT_FAILED, "%s: %s", zone, why);
		return;
	}
	name_lower(im->zone, name);
	if (!conf_keystore_by_name(im->conf, im->cmd->keystore, &index, im->r)) {
		return;
	}
	if (!name_files(im)) {
		reply_fail(im->r, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
		return;
	}
	if (!read_private(im) || !read_dnskey(im) || !choose_role(im) || !check_pair(im)) {
		return;
	}
	diags_init(&d, 1);
	/* Before the first start there is no state directory yet. */
	enum status st = privileges_prepare(&im->conf->server, &d);
	if (st == ST_OK) {
		st = privileges_drop(&im->conf->server, &d);
	}
	if (st == ST_OK) {
		st = bring(im, index, &d);
	}
	if (st != ST_OK) {
		fail_with(im, &d, st);
	}
	diags_fini(&d);
}

void ctl_import(const struct conf *conf, const struct command *cmd, struct reply *r)
{
	struct import im = {.conf = conf, .cmd = cmd, .r = r};

	import(&im);
	wipe(im.number, sizeof(im.number));
	free(im.private_path);
	free(im.key_path);
}
