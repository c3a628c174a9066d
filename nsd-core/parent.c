#include "nsd-core/parent.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/rrtype.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADER_LEN   12
#define FLAG_QR	     0x8000
#define FLAG_AA	     0x0400
#define FLAG_TC	     0x0200
#define OPCODE_MASK  0x7800
#define RCODE_MASK   0x000f
#define NXDOMAIN     3
#define STOP_LOOK_MS 100

/* A TCP exchange: everything has to be done by the deadline, however slowly octets drip in. */
struct exchange {
	int fd;
	int64_t deadline_ms;
	const _Atomic(bool) *stop;
};

static enum status wait_for(const struct exchange *x, short events)
{
	for (;;) {
		int64_t left = x->deadline_ms - clock_mono_ms();
		struct pollfd p = {.fd = x->fd, .events = events};
		if (left <= 0) {
			return ST_ETIMEDOUT;
		}
		if (x->stop != NULL && atomic_load(x->stop)) {
			return ST_EREFUSED;
		}
		int n = poll(&p, 1, left < STOP_LOOK_MS ? (int)left : STOP_LOOK_MS);
		if (n > 0) {
			return ST_OK;
		}
		if (n < 0 && errno != EINTR) {
			return status_from_errno(errno);
		}
	}
}

static enum status connect_to(const struct exchange *x, const struct conf_address *server)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (connect(x->fd, (const struct sockaddr *)&server->addr, server->len) == 0) {
		return ST_OK;
	}
	if (errno != EINPROGRESS) {
		return status_from_errno(errno);
	}
	enum status st = wait_for(x, POLLOUT);
	if (st == ST_OK && getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
		err = errno;
	}
	return st == ST_OK && err != 0 ? status_from_errno(err) : st;
}

static enum status send_all(const struct exchange *x, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(x->fd, data, len, MSG_NOSIGNAL);
		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		enum status st = ST_OK;
		if (errno == EAGAIN) {
			st = wait_for(x, POLLOUT);
		} else if (errno != EINTR) {
			st = status_from_errno(errno);
		}
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

static enum status receive_all(const struct exchange *x, uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(x->fd, data, len, 0);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		enum status st = ST_OK;
		if (n == 0) {
			st = ST_EIO;
		} else if (errno == EAGAIN) {
			st = wait_for(x, POLLIN);
		} else if (errno != EINTR) {
			st = status_from_errno(errno);
		}
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

/* Length (RFC 1035 4.2.2), header without RD, one question. Returns octets. */
static size_t make_query(const uint8_t *zone, uint16_t id, uint8_t *out, size_t room)
{
	struct wwriter w;

	wwriter_init(&w, out, room);
	wwriter_u16(&w, (uint16_t)(HEADER_LEN + name_len(zone) + 4));
	wwriter_u16(&w, id);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 1);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 0);
	wwriter_put(&w, zone, name_len(zone));
	wwriter_u16(&w, RR_DS);
	wwriter_u16(&w, CLASS_IN);
	return wwriter_len(&w);
}

/* Is a DS of the zone among the 'count' records of the answer section? */
static bool answer_has_ds(struct wreader *r, const uint8_t *zone, unsigned count)
{
	uint8_t owner[NAME_MAX_LEN];
	bool found = false;

	for (unsigned i = 0; i < count && r->err == ST_OK; i++) {
		size_t len = wreader_name_expand(r, owner);
		uint16_t type = wreader_u16(r);
		uint16_t rrclass = wreader_u16(r);
		wreader_u32(r);
		wreader_bytes(r, wreader_u16(r));
		found |= r->err == ST_OK && len > 0 && type == RR_DS && rrclass == CLASS_IN &&
			 name_equal(owner, zone);
	}
	return found;
}

enum parent_ds parent_read_reply(const uint8_t *zone, uint16_t id, const uint8_t *reply, size_t len)
{
	struct wreader r;
	uint8_t qname[NAME_MAX_LEN];

	wreader_init(&r, reply, len);
	uint16_t got_id = wreader_u16(&r);
	uint16_t flags = wreader_u16(&r);
	uint16_t questions = wreader_u16(&r);
	uint16_t answers = wreader_u16(&r);
	wreader_u32(&r);
	size_t qname_len = questions == 1 ? wreader_name_expand(&r, qname) : 0;
	uint16_t qtype = wreader_u16(&r);
	uint16_t qclass = wreader_u16(&r);
	unsigned rcode = flags & RCODE_MASK;
	if (r.err != ST_OK || qname_len == 0 || got_id != id || qtype != RR_DS ||
	    qclass != CLASS_IN || !name_equal(qname, zone)) {
		return PARENT_UNKNOWN;
	}
	/* Not authoritative: a referral, or somebody's cache, which proves nothing. */
	if ((flags & (FLAG_QR | FLAG_AA | FLAG_TC | OPCODE_MASK)) != (FLAG_QR | FLAG_AA) ||
	    (rcode != 0 && rcode != NXDOMAIN)) {
		return PARENT_UNKNOWN;
	}
	bool found = answer_has_ds(&r, zone, answers);
	if (found) {
		return PARENT_PRESENT;
	}
	return r.err == ST_OK ? PARENT_ABSENT : PARENT_UNKNOWN;
}

static enum parent_ds ask_one(const uint8_t *zone, const struct conf_address *server,
			      const _Atomic(bool) *stop)
{
	uint8_t query[2 + HEADER_LEN + NAME_MAX_LEN + 4];
	uint8_t prefix[2];
	uint8_t *reply = NULL;
	uint16_t id;
	enum parent_ds result = PARENT_UNKNOWN;
	struct exchange x = {
		.fd = socket(server->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
		.deadline_ms = clock_mono_ms() + PARENT_TIMEOUT_MS,
		.stop = stop,
	};

	if (x.fd < 0 || random_bytes(&id, sizeof(id)) != ST_OK) {
		goto out;
	}
	size_t len = make_query(zone, id, query, sizeof(query));
	if (connect_to(&x, server) != ST_OK || send_all(&x, query, len) != ST_OK ||
	    receive_all(&x, prefix, sizeof(prefix)) != ST_OK) {
		goto out;
	}
	len = be16_get(prefix);
	reply = malloc(len + 1);
	if (reply != NULL && receive_all(&x, reply, len) == ST_OK) {
		result = parent_read_reply(zone, id, reply, len);
	}
out:
	free(reply);
	if (x.fd >= 0) {
		close(x.fd);
	}
	return result;
}

enum parent_ds parent_ask(const uint8_t *zone, const struct conf_address *servers, size_t count,
			  const _Atomic(bool) *stop)
{
	enum parent_ds result = count > 0 ? PARENT_ABSENT : PARENT_UNKNOWN;

	for (size_t i = 0; i < count; i++) {
		enum parent_ds one = ask_one(zone, &servers[i], stop);
		/* A DS at one server is enough for validators to want signatures. */
		if (one == PARENT_PRESENT) {
			return PARENT_PRESENT;
		}
		if (one == PARENT_UNKNOWN) {
			result = PARENT_UNKNOWN;
		}
	}
	return result;
}
