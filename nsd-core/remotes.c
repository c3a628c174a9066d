#include "nsd-core/remotes.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define SECRET_FILE_MAX 4096
#define SECRET_MAX	1024

/* Without white space around it. */
static struct bytes trimmed(const char *text, size_t len)
{
	size_t begin = 0;

	while (begin < len && memchr(" \t\r", text[begin], 3) != NULL) {
		begin++;
	}
	while (len > begin && memchr(" \t\r", text[len - 1], 3) != NULL) {
		len--;
	}
	return (struct bytes){(const uint8_t *)text + begin, len - begin};
}

/* The file's first line, into 'buf'. */
static enum status read_line(const char *path, char *buf, size_t room, size_t *len)
{
	enum status st = ST_OK;
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		return status_from_errno(errno);
	}
	while (used < room) {
		ssize_t n = read(fd, buf + used, room - used);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			st = status_from_errno(errno);
			goto out;
		}
		if (n == 0) {
			break;
		}
		used += (size_t)n;
	}
	const char *end = memchr(buf, '\n', used);
	*len = end != NULL ? (size_t)(end - buf) : used;
out:
	close(fd);
	return st;
}

static enum status read_secret(const struct conf_tsig_key *key, uint8_t secret[SECRET_MAX],
			       size_t *len, struct diags *d)
{
	char text[SECRET_FILE_MAX];
	size_t text_len = 0;
	enum status st = read_line(key->secret_file, text, sizeof(text), &text_len);
	struct bytes line = trimmed(text, text_len);

	if (st != ST_OK) {
		diags_add(d, DIAG_ERROR, key->secret_file, 0, 0, "cannot be read: %s",
			  status_text(st));
	} else if (base64_decode((const char *)line.data, line.len, secret, SECRET_MAX, len) !=
			   ST_OK ||
		   *len == 0) {
		diags_add(d, DIAG_ERROR, key->secret_file, 1, 1,
			  "not a secret in base64, alone in the first line");
		st = ST_EPARSE;
	} else if (*len < hmac_size((enum hmac_type)key->algorithm) / 2) {
		diags_add(d, DIAG_WARNING, key->secret_file, 1, 1,
			  "the secret has %zu bits, less than half of what the algorithm can use",
			  *len * 8);
	}
	wipe(text, sizeof(text));
	return st;
}

enum status remotes_load_keys(const struct conf *conf, struct tsig_keys **out, struct diags *d)
{
	size_t count = conf->tsig_key_count;
	enum status st = ST_OK;
	struct tsig_secret *secrets = calloc(count + 1, sizeof(*secrets));
	uint8_t(*octets)[SECRET_MAX] = calloc(count + 1, sizeof(*octets));

	if (secrets == NULL || octets == NULL) {
		st = ST_ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		const struct conf_tsig_key *key = &conf->tsig_keys[i];
		size_t len = 0;
		enum status one = read_secret(key, octets[i], &len, d);
		st = st == ST_OK ? one : st;
		secrets[i] = (struct tsig_secret){.name = key->name,
						  .type = (enum hmac_type)key->algorithm,
						  .secret = {octets[i], len}};
	}
	if (st == ST_OK) {
		st = tsig_keys_new(secrets, count, out);
	}
out:
	if (octets != NULL) {
		wipe(octets, (count + 1) * sizeof(*octets));
	}
	free(octets);
	free(secrets);
	return st;
}

/* An address's octets; an IPv4 one that came through an IPv6 socket is what it was. */
static struct bytes address_octets(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
		return (struct bytes){(const uint8_t *)&in4->sin_addr, 4};
	}
	if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
		const uint8_t *octets = in6->sin6_addr.s6_addr;
		return IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? (struct bytes){octets + 12, 4}
							     : (struct bytes){octets, 16};
	}
	return (struct bytes){NULL, 0};
}

bool conf_peer_matches(const struct conf_peer *p, const struct sockaddr *peer)
{
	struct bytes a = address_octets((const struct sockaddr *)&p->at.addr);
	struct bytes b = address_octets(peer);
	unsigned bits = p->is_range ? p->prefix : (unsigned)a.len * 8;

	if (p->is_range && a.len == 4 && p->at.addr.ss_family == AF_INET6) {
		/* Bits in front of the address that is mapped: all of them count, since no range
		 * has bits behind its prefix. */
		bits -= 96;
	}
	if (a.len != b.len || a.len == 0 || memcmp(a.data, b.data, bits / 8) != 0) {
		return false;
	}
	if (bits % 8 == 0) {
		return true;
	}
	return ((a.data[bits / 8] ^ b.data[bits / 8]) >> (8 - bits % 8)) == 0;
}

bool conf_peer_is(const struct conf_peer *p, const struct sockaddr *from)
{
	const struct sockaddr_in *a = (const struct sockaddr_in *)&p->at.addr;
	const struct sockaddr_in *b = (const struct sockaddr_in *)from;

	/* The port stands at the same place in both families. */
	return conf_peer_matches(p, from) && a->sin_port == b->sin_port;
}

static bool remote_is_at(const struct conf_remote *r, const struct sockaddr *peer)
{
	for (size_t i = 0; i < r->peer_count; i++) {
		if (conf_peer_matches(&r->peers[i], peer)) {
			return true;
		}
	}
	return false;
}

bool remotes_admit(const struct conf *conf, const struct conf_zone *zone,
		   const struct tsig_keys *keys, const struct remotes_client *client,
		   const char **why)
{
	bool at = false;
	bool in_clear = false;

	if (conf == NULL || zone == NULL || client->peer == NULL) {
		*why = "there are no transfers";
		return false;
	}
	if (zone->secondary_count == 0) {
		*why = "the zone has no secondaries";
		return false;
	}
	for (size_t i = 0; i < zone->secondary_count; i++) {
		const struct conf_remote *r = &conf->remotes[zone->secondaries[i]];
		bool here = remote_is_at(r, client->peer);
		bool known = r->tsig_key < 0 ? here : client->key == &keys->list[r->tsig_key];
		if (known && (client->tls || !r->tls)) {
			return true;
		}
		at |= here;
		in_clear |= known;
	}
	if (in_clear) {
		*why = "it has to come over TLS";
	} else if (client->key != NULL) {
		*why = "its key is none of the secondaries'";
	} else if (at) {
		*why = "it did not sign with the secondary's key";
	} else {
		*why = "its address is none of the secondaries'";
	}
	return false;
}
