#include "hsm/pkcs11.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum status pin_digest(const struct pin_guard *g, const struct pin *pin, uint8_t *out)
{
	struct bytes pieces[] = {
		{g->salt, sizeof(g->salt)},
		{(const uint8_t *)pin->text, pin->len},
	};
	return digest_of(DIGEST_SHA256, pieces, 2, out);
}

bool pin_is_blocked(const struct pin_guard *g)
{
	struct stat now;
	return g->blocked && g->refused && stat(g->path, &now) == 0 && same_file(&g->seen, &now);
}

static enum status pin_load(const char *path, struct pin *out, struct fault *f)
{
	enum status st = ST_EFATAL;
	size_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &out->file) != 0) {
		fault_set(f, FAULT_PIN, "cannot read the PIN file %s: %s", path, strerror(errno));
		goto out;
	}
	ssize_t n;
	do {
		n = read(fd, out->text + len, sizeof(out->text) - len);
		len += n > 0 ? (size_t)n : 0;
	} while (len < sizeof(out->text) && (n > 0 || (n < 0 && errno == EINTR)));
	if (n < 0) {
		fault_set(f, FAULT_PIN, "cannot read the PIN file %s: %s", path, strerror(errno));
		goto out;
	}
	out->len = 0;
	while (out->len < len && out->text[out->len] != '\n' && out->text[out->len] != '\r' &&
	       out->text[out->len] != '\0') {
		out->len++;
	}
	if (out->len == 0 || out->len == sizeof(out->text)) {
		fault_set(f, FAULT_PIN, "the first line of the PIN file %s is %s", path,
			  out->len == 0 ? "empty" : "too long");
		goto out;
	}
	st = ST_OK;
out:
	if (fd >= 0) {
		close(fd);
	}
	return st;
}

enum status pin_read(struct pin_guard *g, bool count_low, struct pin *out, struct fault *f)
{
	uint8_t digest[32];
	if (g->path == NULL) {
		fault_set(f, FAULT_PIN, "the token wants a PIN, and no pin-file is configured");
		return ST_EFATAL;
	}
	struct pin pin = {0};
	enum status st = pin_load(g->path, &pin, f);
	if (st != ST_OK) {
		goto out;
	}
	if (g->refused) {
		st = pin_digest(g, &pin, digest);
		if (st != ST_OK) {
			fault_set(f, FAULT_DEVICE, "cannot make a digest: %s", status_text(st));
			goto out;
		}
		if (same_file(&g->seen, &pin.file) ||
		    memcmp(digest, g->digest, sizeof(digest)) == 0) {
			g->blocked = true;
			g->seen = pin.file;
			st = pin_blocked_fault(g, f);
			goto out;
		}
	}
	if (count_low && !(g->blocked && !same_file(&g->seen, &pin.file))) {
		g->blocked = true;
		g->seen = pin.file;
		fault_set(
			f, FAULT_PIN,
			"the token counts a wrong PIN: no try is spent until %s is written again, "
			"or the right PIN was given with another tool",
			g->path);
		st = ST_EFATAL;
		goto out;
	}
	*out = pin;
out:
	wipe(&pin, sizeof(pin));
	return st;
}

enum status pin_blocked_fault(const struct pin_guard *g, struct fault *f)
{
	if (g->locked) {
		fault_set(f, FAULT_PIN,
			  "the token's user PIN is locked: once it is unlocked, write it into %s "
			  "again",
			  g->path);
	} else {
		fault_set(f, FAULT_PIN,
			  "the PIN in %s was refused and is not tried again: write the right one",
			  g->path);
	}
	return ST_EFATAL;
}

/* No PIN has a digest of zeros: any other file will do. */
static void block_file(struct pin_guard *g)
{
	g->blocked = true;
	g->refused = true;
	memset(g->digest, 0, sizeof(g->digest));
}

void pin_block(struct pin_guard *g)
{
	if (g->path != NULL && stat(g->path, &g->seen) == 0) {
		block_file(g);
	}
}

void pin_locked_out(struct pin_guard *g, const struct pin *pin)
{
	g->seen = pin->file;
	g->locked = true;
	block_file(g);
}

void pin_refused(struct pin_guard *g, const struct pin *pin)
{
	g->blocked = true;
	g->seen = pin->file;
	g->refused = true;
	g->locked = false;
	/* Without a digest the file's time and size must do. */
	if (random_bytes(g->salt, sizeof(g->salt)) != ST_OK ||
	    pin_digest(g, pin, g->digest) != ST_OK) {
		memset(g->digest, 0, sizeof(g->digest));
	}
}

void pin_accepted(struct pin_guard *g)
{
	g->blocked = false;
	g->refused = false;
	g->locked = false;
}

/* Sent from a process to another of the same program, as it is in memory. */
struct kept_guard {
	bool blocked, refused, locked;
	struct stat seen;
	uint8_t salt[16];
	uint8_t digest[32];
};

size_t pin_guard_save(const struct pin_guard *g, uint8_t *out, size_t room)
{
	struct kept_guard kept;

	if (room < sizeof(kept)) {
		return 0;
	}
	memset(&kept, 0, sizeof(kept));
	kept.blocked = g->blocked;
	kept.refused = g->refused;
	kept.locked = g->locked;
	kept.seen = g->seen;
	memcpy(kept.salt, g->salt, sizeof(kept.salt));
	memcpy(kept.digest, g->digest, sizeof(kept.digest));
	memcpy(out, &kept, sizeof(kept));
	return sizeof(kept);
}

void pin_guard_load(struct pin_guard *g, const uint8_t *data, size_t len)
{
	struct kept_guard kept;

	if (len != sizeof(kept)) {
		return;
	}
	memcpy(&kept, data, sizeof(kept));
	g->blocked = kept.blocked;
	g->refused = kept.refused;
	g->locked = kept.locked;
	g->seen = kept.seen;
	memcpy(g->salt, kept.salt, sizeof(g->salt));
	memcpy(g->digest, kept.digest, sizeof(g->digest));
}
