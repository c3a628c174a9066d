/* Keys as PKCS#8 PEM files, one per key, named by the id in hex. */
#include "hsm/file_pem.h"

#include "hsm/keystore.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>

#define FILE_MAX    16384 /* a P-256 key has 241 octets of PEM */
#define NAME_ROOM   (TEXT_HEX_SIZE(HSM_ID_MAX) + 16)
#define SAMPLE_MASK 0x3ff /* one signature in 1024 is verified: memory and processors fail, too */

struct device {
	const char *directory;
	const char *passphrase_file;
};

struct session {
	struct device *dev;
};

struct file_key {
	struct hsm_key base;
	_Atomic(uint32_t) made;
};

static enum status device_new(const struct keystore_options *opt, struct device **out,
			      struct diags *d)
{
	if (opt->directory == NULL || opt->directory[0] == '\0') {
		diags_error(d, "keystore %s: type file needs a directory", opt->name);
		return ST_EPARSE;
	}
	struct device *dev = calloc(1, sizeof(*dev));
	if (dev == NULL) {
		return ST_ENOMEM;
	}
	dev->directory = opt->directory;
	dev->passphrase_file = opt->passphrase_file;
	*out = dev;
	return ST_OK;
}

static void device_free(struct device *dev)
{
	free(dev);
}

/* Says what errno means for 'name' of the directory (NULL: the directory itself). */
static enum status fault_errno(struct device *dev, const char *name, const char *what,
			       struct fault *f)
{
	int err = errno;
	fault_set(f, FAULT_REQUEST, "cannot %s %s%s%s: %s", what, dev->directory,
		  name != NULL ? "/" : "", name != NULL ? name : "", strerror(err));
	/* Only a read that found no file means absent, and its caller says so. */
	return err == EACCES || err == EPERM ? ST_EACCES : err == ENOMEM ? ST_ENOMEM : ST_EIO;
}

static enum status directory_open(struct device *dev, int *out, struct fault *f)
{
	struct stat sb;
	int fd = open(dev->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return fault_errno(dev, NULL, "open the key directory", f);
	}
	if (fstat(fd, &sb) != 0) {
		enum status st = fault_errno(dev, NULL, "look at the key directory", f);
		close(fd);
		return st;
	}
	if ((sb.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		fault_set(f, FAULT_REQUEST,
			  "key directory %s has mode %04o: others may write to it (chmod 700)",
			  dev->directory, (unsigned)(sb.st_mode & 07777));
		close(fd);
		return ST_EACCES;
	}
	*out = fd;
	return ST_OK;
}

/* A key is on record, durably, soon after it is made: the directory it stands in must not be lost
 * with the power after that. */
static enum status directory_make(struct device *dev, struct fault *f)
{
	enum status st = ST_OK;
	int fd = -1;
	int above = -1;
	if (mkdir(dev->directory, 0700) != 0) {
		return errno == EEXIST ? ST_OK
				       : fault_errno(dev, NULL, "make the key directory", f);
	}
	fd = open(dev->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		above = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (above < 0 || fsync(above) != 0) {
		st = fault_errno(dev, NULL, "write the folder of the key directory", f);
		/* So that the next attempt does not take it for durable. */
		(void)rmdir(dev->directory);
	}
	if (above >= 0) {
		close(above);
	}
	if (fd >= 0) {
		close(fd);
	}
	return st;
}

static enum status device_open(struct device *dev, struct fault *f)
{
	int fd = -1;
	enum status st = directory_make(dev, f);
	if (st == ST_OK) {
		st = directory_open(dev, &fd, f);
	}
	if (st != ST_OK) {
		f->kind = FAULT_DEVICE;
		return st;
	}
	close(fd);
	return ST_OK;
}

static void key_name(const struct hsm_key *key, char *name)
{
	char hex[TEXT_HEX_SIZE(HSM_ID_MAX)];
	snprintf(name, NAME_ROOM, "%s.pem", hex_encode(key->id, key->id_len, hex));
}

static enum status read_all(int fd, uint8_t *buf, size_t room, size_t *len)
{
	size_t have = 0;
	while (have < room) {
		ssize_t n = read(fd, buf + have, room - have);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return ST_EIO;
		}
		if (n == 0) {
			*len = have;
			return ST_OK;
		}
		have += (size_t)n;
	}
	return ST_ELIMIT;
}

static enum status write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return ST_EIO;
		}
		data += n;
		len -= (size_t)n;
	}
	return ST_OK;
}

/* The file of a key, whole; the caller wipes 'buf'. ST_ENOENT: the directory was read and has none.
 */
static enum status key_file_read(struct device *dev, const char *name, uint8_t *buf, size_t *len,
				 struct fault *f)
{
	struct stat sb;
	int fd = -1;
	int dir = -1;
	enum status st = directory_open(dev, &dir, f);
	if (st != ST_OK) {
		return st;
	}
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		fault_set(f, FAULT_REQUEST, "no key file %s/%s", dev->directory, name);
		st = ST_ENOENT;
		goto out;
	}
	if (fd < 0 && errno == ELOOP) {
		fault_set(f, FAULT_REQUEST,
			  "%s/%s is a symbolic link, and none is followed for keys", dev->directory,
			  name);
		st = ST_EACCES;
		goto out;
	}
	if (fd < 0 || fstat(fd, &sb) != 0) {
		st = fault_errno(dev, name, "read the key file", f);
		goto out;
	}
	if (!S_ISREG(sb.st_mode)) {
		fault_set(f, FAULT_REQUEST, "%s/%s is not a regular file", dev->directory, name);
		st = ST_EACCES;
		goto out;
	}
	if ((sb.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		fault_set(f, FAULT_REQUEST,
			  "key file %s/%s has mode %04o: others may use it (chmod 600)",
			  dev->directory, name, (unsigned)(sb.st_mode & 07777));
		st = ST_EACCES;
		goto out;
	}
	st = read_all(fd, buf, FILE_MAX, len);
	if (st == ST_ELIMIT) {
		fault_set(f, FAULT_REQUEST, "key file %s/%s is too long", dev->directory, name);
	} else if (st != ST_OK) {
		st = fault_errno(dev, name, "read the key file", f);
	}
out:
	if (fd >= 0) {
		close(fd);
	}
	close(dir);
	return st;
}

static enum status key_find(struct device *dev, struct hsm_key *key, const uint8_t *expect,
			    struct fault *f)
{
	char name[NAME_ROOM];
	uint8_t buf[FILE_MAX];
	size_t len = 0;
	(void)expect;
	key_name(key, name);
	enum status st = key_file_read(dev, name, buf, &len, f);
	if (st != ST_OK) {
		return st;
	}
	st = key_pem_decode(buf, len, name, dev->passphrase_file, &key->pkey, f);
	wipe(buf, len);
	return st == ST_OK ? public_key_point(key->pkey, key->public_point) : st;
}

/* Under a temporary name first: a key file is whole or absent, whenever the power fails. */
static enum status key_file_write(struct device *dev, const char *name, const uint8_t *data,
				  size_t len, struct fault *f)
{
	char temp[NAME_ROOM + 8];
	int dir = -1;
	int fd = -1;
	enum status st = directory_open(dev, &dir, f);
	if (st != ST_OK) {
		return st;
	}
	snprintf(temp, sizeof(temp), ".%s.tmp", name);
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		st = fault_errno(dev, temp, "make the key file", f);
		goto out;
	}
	if (fchmod(fd, 0600) != 0 || write_all(fd, data, len) != ST_OK || fsync(fd) != 0 ||
	    renameat(dir, temp, dir, name) != 0) {
		st = fault_errno(dev, temp, "write the key file", f);
		(void)unlinkat(dir, temp, 0);
		goto out;
	}
	if (fsync(dir) != 0) {
		st = fault_errno(dev, NULL, "write the key directory", f);
		/* Its caller will know of no such key. */
		(void)unlinkat(dir, name, 0);
	}
out:
	if (fd >= 0) {
		close(fd);
	}
	close(dir);
	return st;
}

/* Writes key->pkey under its id. */
static enum status key_write(struct device *dev, struct hsm_key *key, const char *label,
			     struct fault *f)
{
	char name[NAME_ROOM];
	char *data = NULL;
	long len = 0;
	BIO *bio = BIO_new(BIO_s_secmem());
	if (bio == NULL) {
		return ST_ENOMEM;
	}
	enum status st = key_pem_encode(key->pkey, label, dev->passphrase_file, bio, f);
	if (st == ST_OK) {
		len = BIO_get_mem_data(bio, &data);
		key_name(key, name);
		st = key_file_write(dev, name, (const uint8_t *)data, (size_t)len, f);
	}
	if (data != NULL) {
		wipe(data, (size_t)len);
	}
	BIO_free(bio);
	return st;
}

static enum status key_generate(struct device *dev, struct hsm_key *key, const char *label,
				struct fault *f)
{
	key->pkey = EVP_EC_gen("P-256");
	if (key->pkey == NULL || public_key_point(key->pkey, key->public_point) != ST_OK) {
		fault_set(f, FAULT_REQUEST, "OpenSSL cannot make a P-256 key");
		return ST_ECRYPTO;
	}
	return key_write(dev, key, label, f);
}

static enum status key_import(struct device *dev, struct hsm_key *key, const uint8_t *number,
			      const char *label, struct fault *f)
{
	enum status st = private_key_new(number, &key->pkey);
	if (st == ST_OK) {
		st = public_key_point(key->pkey, key->public_point);
	}
	if (st != ST_OK) {
		fault_set(f, FAULT_REQUEST, "the private number is not one of ECDSA P-256");
		return st;
	}
	return key_write(dev, key, label, f);
}

static enum status key_remove(struct device *dev, struct hsm_key *key, struct fault *f)
{
	char name[NAME_ROOM];
	int dir = -1;
	enum status st = directory_open(dev, &dir, f);
	if (st != ST_OK) {
		return st;
	}
	key_name(key, name);
	if (unlinkat(dir, name, 0) != 0) {
		bool absent = errno == ENOENT;
		st = fault_errno(dev, name, "delete the key file", f);
		st = absent ? ST_ENOENT : st;
	} else if (fsync(dir) != 0) {
		st = fault_errno(dev, NULL, "write the key directory", f);
	}
	close(dir);
	return st;
}

/* The file's name: the id in hex. */
static enum status key_identify(struct device *dev, const char *ref, struct hsm_id *out,
				struct fault *f)
{
	struct hsm_key key = {.store = NULL};
	struct stat sb;
	char name[NAME_ROOM];
	int dir = -1;
	size_t len = strlen(ref);
	if (len > 4 && strcmp(ref + len - 4, ".pem") == 0) {
		len -= 4;
	}
	if (hex_decode(ref, len, key.id, sizeof(key.id), &key.id_len) != ST_OK || key.id_len == 0) {
		fault_set(f, FAULT_REQUEST,
			  "'%.64s' names no key file: they are named by their id in hex", ref);
		return ST_EPARSE;
	}
	enum status st = directory_open(dev, &dir, f);
	if (st != ST_OK) {
		return st;
	}
	key_name(&key, name);
	if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) == 0) {
		memcpy(out->data, key.id, key.id_len);
		out->len = key.id_len;
	} else if (errno == ENOENT) {
		fault_set(f, FAULT_REQUEST, "no key file %s/%s", dev->directory, name);
		st = ST_ENOENT;
	} else {
		st = fault_errno(dev, name, "look at the key file", f);
	}
	close(dir);
	return st;
}

static enum status session_new(struct device *dev, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->dev = dev;
	*out = s;
	return ST_OK;
}

static void session_free(struct session *s)
{
	free(s);
}

static enum status key_sign(struct hsm_key *base, const uint8_t *digest, uint8_t *signature)
{
	struct file_key *key = (struct file_key *)base;
	uint8_t sig[HSM_SIGNATURE_LEN];
	enum status st = pool_sign(&base->signers, base->pkey, digest, sig);
	uint32_t made = atomic_fetch_add_explicit(&key->made, 1, memory_order_relaxed);
	if (st == ST_OK && (made & SAMPLE_MASK) == SAMPLE_MASK) {
		st = pool_verify(&base->verifiers, base->pkey, digest, sig);
		if (st == ST_ECRYPTO) {
			atomic_fetch_add_explicit(&base->store->verify_failures, 1,
						  memory_order_relaxed);
		}
	}
	if (st == ST_OK) {
		memcpy(signature, sig, sizeof(sig));
	}
	return st;
}

static enum status session_sign(struct session *s, struct hsm_key *key, const uint8_t *digest,
				struct raw_signature *out, struct fault *f)
{
	(void)s;
	enum status st = key_sign(key, digest, out->data);
	if (st != ST_OK) {
		fault_set(f, FAULT_REQUEST, "OpenSSL cannot sign");
		return st;
	}
	out->len = HSM_SIGNATURE_LEN;
	return ST_OK;
}

enum status hsm_sign_now(struct hsm_key *key, const uint8_t *digest, uint8_t *signature)
{
	if (!key->be->in_process) {
		return ST_ENOTSUP;
	}
	enum status st = key_sign(key, digest, signature);
	atomic_fetch_add_explicit(st == ST_OK ? &key->store->signatures : &key->store->failures, 1,
				  memory_order_relaxed);
	return st;
}

const struct backend backend_file = {
	.in_process = true,
	.key_size = sizeof(struct file_key),
	.device_new = device_new,
	.device_free = device_free,
	.open = device_open,
	.find = key_find,
	.generate = key_generate,
	.import = key_import,
	.remove = key_remove,
	.identify = key_identify,
	.session_new = session_new,
	.session_free = session_free,
	.sign = session_sign,
};
