#include "nsd-core/worker_state.h"

#include "nsd-core/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define UDP_BATCH ANSWER_BATCH_MAX
/* Questions answered before other sockets, timers and the inbox get their turn; when stopping, what
 * a receive buffer holds of small ones. */
#define UDP_TURN      (8 * UDP_BATCH)
#define UDP_STOP_TURN (64 * UDP_BATCH)
/* Turns that end with a short batch after one that asked again in vain. */
#define UDP_PATIENT_TURNS 15
/* Replies to parked questions that may wait for each other. */
#define UDP_REPLIES 8
/* Longer questions are dropped: no client sends one. */
#define UDP_IN_MAX 2048

union udp_control {
	struct cmsghdr align;
	uint8_t octets[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct udp_batch {
	const struct udp_socket *owner; /* whose headers these are */
	unsigned used;			/* headers that the kernel wrote to since */
	struct mmsghdr in[UDP_BATCH];
	struct mmsghdr out[UDP_BATCH];
	struct iovec in_iov[UDP_BATCH];
	struct iovec out_iov[UDP_BATCH];
	struct sockaddr_in6 peers[UDP_BATCH]; /* holds a sockaddr_in as well */
	union udp_control controls[UDP_BATCH];
	uint8_t questions[UDP_BATCH][UDP_IN_MAX];
	struct answer_item items[UDP_BATCH];
	uint8_t headers[UDP_BATCH]; /* items[i] came with in[headers[i]] */
	size_t answer_room;
	uint8_t answers[]; /* UDP_BATCH times answer_room */
};

/* Of one socket. Sent together, since what is sent alone costs the waking of whom it is for. */
struct udp_replies {
	const struct udp_socket *owner;
	unsigned count;
	struct mmsghdr out[UDP_REPLIES];
	struct iovec iov[UDP_REPLIES];
	struct sockaddr_in6 peers[UDP_REPLIES]; /* holds a sockaddr_in as well */
	union udp_control controls[UDP_REPLIES];
	size_t room;
	uint8_t data[]; /* UDP_REPLIES times room */
};

static enum status batch_new(size_t answer_room, struct udp_batch **out)
{
	struct udp_batch *b = calloc(1, sizeof(*b) + UDP_BATCH * answer_room);

	if (b == NULL) {
		return ST_ENOMEM;
	}
	b->answer_room = answer_room;
	for (size_t i = 0; i < UDP_BATCH; i++) {
		b->in_iov[i] = (struct iovec){b->questions[i], UDP_IN_MAX};
		b->in[i].msg_hdr = (struct msghdr){
			.msg_name = &b->peers[i], .msg_iov = &b->in_iov[i], .msg_iovlen = 1};
	}
	*out = b;
	return ST_OK;
}

enum status udp_bind(struct worker *w, struct diags *d)
{
	struct udp *u = &w->udp;
	enum status st = batch_new(w->conf->udp_size, &u->batch);

	if (st != ST_OK) {
		return st;
	}
	u->replies = calloc(1, sizeof(*u->replies) + (size_t)UDP_REPLIES * w->conf->udp_size);
	u->sockets = calloc(w->conf->listen_count, sizeof(*u->sockets));
	if (u->replies == NULL || u->sockets == NULL) {
		return ST_ENOMEM;
	}
	u->replies->room = w->conf->udp_size;
	for (size_t i = 0; i < w->conf->listen_count; i++) {
		const struct conf_address *a = &w->conf->listen[i];
		struct udp_socket *s = &u->sockets[i];
		*s = (struct udp_socket){.worker = w,
					 .fd = -1,
					 .index = (uint16_t)i,
					 .wildcard = socket_is_wildcard(a)};
		u->count++;
		enum status bound = socket_udp(a, w->conf->udp_buffer_bytes, &s->fd, d);
		if (bound != ST_OK) {
			return bound;
		}
	}
	return ST_OK;
}

/* What the kernel said of where a question came in, made what it wants to hear of where the answer
 * leaves: the address, and no interface, so that routing decides (but for link-local addresses). */
static void local_address_reverse(struct msghdr *hdr)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c != NULL; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);
			info->ipi_ifindex = 0;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(c);
			if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr)) {
				info->ipi6_ifindex = 0;
			}
		}
	}
}

static void reply_fill(const struct udp_socket *s, const struct msghdr *hdr,
		       struct park_reply *reply)
{
	*reply = (struct park_reply){
		.transport = ANSWER_UDP, .socket = s->index, .peer_len = hdr->msg_namelen};
	memcpy(&reply->peer, hdr->msg_name, hdr->msg_namelen);
	const struct cmsghdr *c = s->wildcard ? CMSG_FIRSTHDR(hdr) : NULL;
	if (c != NULL && c->cmsg_level == IPPROTO_IP) {
		memcpy(&reply->local, CMSG_DATA(c), sizeof(reply->local.in4));
	} else if (c != NULL) {
		memcpy(&reply->local, CMSG_DATA(c), sizeof(reply->local.in6));
	}
}

/* Sends all; what would block or cannot be sent is dropped, as the network drops. */
static void batch_send(struct worker *w, int fd, struct mmsghdr *out, unsigned count)
{
	unsigned sent = 0;

	while (sent < count) {
		int n = sendmmsg(fd, out + sent, count - sent, 0);
		if (n > 0) {
			sent += (unsigned)n;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
			count_add(&w->counts.send_dropped, count - sent);
			return;
		} else if (errno != EINTR) {
			/* Of this message only: no route, a forged peer with port 0, a filter. */
			count_add(&w->counts.send_dropped, 1);
			sent++;
		}
	}
}

/* One more message to be sent. */
static void batch_add(struct udp_batch *b, unsigned *answers, const struct msghdr *hdr,
		      const struct answer_item *item)
{
	unsigned at = (*answers)++;

	b->out_iov[at] = (struct iovec){item->out, item->out_len};
	b->out[at].msg_hdr = (struct msghdr){
		.msg_name = hdr->msg_name,
		.msg_namelen = hdr->msg_namelen,
		.msg_iov = &b->out_iov[at],
		.msg_iovlen = 1,
		.msg_control = hdr->msg_control,
		.msg_controllen = hdr->msg_controllen,
	};
}

/* What was read, without what the kernel cut off; returns how many. */
static unsigned batch_items(const struct udp_socket *s, struct udp_batch *b, unsigned count)
{
	unsigned asked = 0;

	for (unsigned i = 0; i < count; i++) {
		struct answer_item *item = &b->items[asked];
		if ((b->in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
			continue;
		}
		if (s->wildcard) {
			local_address_reverse(&b->in[i].msg_hdr);
		}
		item->in = b->questions[i];
		item->in_len = b->in[i].msg_len;
		item->out = b->answers + asked * b->answer_room;
		item->peer = (const struct sockaddr *)&b->peers[i];
		item->tls = false;
		b->headers[asked++] = (uint8_t)i;
	}
	return asked;
}

/* Those that cannot be answered yet; how many answers came of them after all. */
static unsigned batch_park(struct udp_socket *s, struct udp_batch *b, unsigned asked)
{
	unsigned answers = 0;

	for (unsigned i = 0; i < asked; i++) {
		struct answer_item *item = &b->items[i];
		const struct msghdr *hdr = &b->in[b->headers[i]].msg_hdr;
		struct bytes question = {item->in, item->in_len};
		struct park_reply reply;
		if (item->result != ANSWER_PARK) {
			continue;
		}
		reply_fill(s, hdr, &reply);
		if (worker_park(s->worker, &reply, &question, &item->missing, item->out,
				b->answer_room, &item->out_len) == ANSWER_SEND) {
			batch_add(b, &answers, hdr, item);
		}
	}
	return answers;
}

static void batch_answer(struct udp_socket *s, struct udp_batch *b, unsigned count)
{
	struct worker *w = s->worker;
	unsigned asked = batch_items(s, b, count);
	unsigned answers = 0;

	worker_batch_begin(w);
	answer_batch(&w->env, ANSWER_UDP, b->items, asked, b->answer_room);
	for (unsigned i = 0; i < asked; i++) {
		if (b->items[i].result == ANSWER_SEND) {
			batch_add(b, &answers, &b->in[b->headers[i]].msg_hdr, &b->items[i]);
		}
	}
	batch_send(w, s->fd, b->out, answers);
	/* After what could be answered has left: parking may be signing. */
	answers = batch_park(s, b, asked);
	batch_send(w, s->fd, b->out, answers);
	count_add(&w->counts.udp_queries, count);
	count_add(&w->counts.udp_batches, 1);
	worker_batch_end(w);
}

/* Lengths and controls as the kernel wants them; only of what it changed, since most batches are
 * small. */
static void batch_reset(const struct udp_socket *s, struct udp_batch *b)
{
	unsigned count = b->owner == s ? b->used : UDP_BATCH;

	for (unsigned i = 0; i < count; i++) {
		struct msghdr *hdr = &b->in[i].msg_hdr;
		hdr->msg_namelen = sizeof(b->peers[i]);
		hdr->msg_control = s->wildcard ? &b->controls[i] : NULL;
		hdr->msg_controllen = s->wildcard ? sizeof(b->controls[i]) : 0;
	}
	b->owner = s;
	b->used = 0;
}

/* Messages read, at most UDP_BATCH; 0: none, or a fault. */
static unsigned batch_read(const struct udp_socket *s, struct udp_batch *b)
{
	batch_reset(s, b);
	int n = recvmmsg(s->fd, b->in, UDP_BATCH, MSG_DONTWAIT, NULL);
	/* A failing call has touched the first at most. */
	b->used = n >= 0 ? (unsigned)n : 1;
	return n > 0 ? (unsigned)n : 0;
}

/* Behind a full batch there is more. Behind a short one there often is by the time it is answered:
 * asking the socket then saves the way through the loop, which is a call more, and costs one where
 * there is nothing. So it is asked as long as that pays. */
static void socket_read(struct udp_socket *s, unsigned turn)
{
	struct udp_batch *b = s->worker->udp.batch;
	bool again = s->patient == 0;
	unsigned batches = 0;
	unsigned since = 0; /* questions since a signature was made */
	unsigned done = 0;

	s->patient -= s->patient > 0;
	for (;;) {
		unsigned count = batch_read(s, b);
		if (count == 0) {
			s->patient = batches == 1 ? UDP_PATIENT_TURNS : s->patient;
			return;
		}
		batch_answer(s, b, count);
		batches++;
		done += count;
		if (done >= turn || (count < UDP_BATCH && !again)) {
			return;
		}
		since += count;
		if (since >= UDP_BATCH) {
			since = 0;
			worker_sign_some(s->worker);
		}
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	/* An error on the socket (status < 0) is read off it by the call; a datagram's sender gets
	 * over it.
	 */
	(void)status;
	(void)events;
	socket_read(container_of(poll, struct udp_socket, poll), UDP_TURN);
}

enum status udp_start(struct worker *w)
{
	for (size_t i = 0; i < w->udp.count; i++) {
		struct udp_socket *s = &w->udp.sockets[i];
		int err = uv_poll_init(&w->loop, &s->poll, s->fd);
		if (err == 0) {
			s->polling = true;
			err = uv_poll_start(&s->poll, UV_READABLE, on_readable);
		}
		if (err != 0) {
			return status_from_errno(-err);
		}
	}
	return ST_OK;
}

static void control_fill(struct msghdr *hdr, union udp_control *control, int level, int type,
			 const void *data, size_t len)
{
	hdr->msg_control = control;
	hdr->msg_controllen = CMSG_SPACE(len);
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
}

void udp_reply(struct worker *w, const struct park_reply *reply, const uint8_t *out, size_t len)
{
	const struct udp_socket *s = &w->udp.sockets[reply->socket];
	struct udp_replies *r = w->udp.replies;

	if (r->owner != s) {
		udp_flush(w);
	}
	r->owner = s;
	unsigned at = r->count++;
	struct msghdr *hdr = &r->out[at].msg_hdr;
	memcpy(&r->peers[at], &reply->peer, reply->peer_len);
	r->iov[at] = (struct iovec){r->data + at * r->room, len};
	memcpy(r->iov[at].iov_base, out, len);
	*hdr = (struct msghdr){.msg_name = &r->peers[at],
			       .msg_namelen = reply->peer_len,
			       .msg_iov = &r->iov[at],
			       .msg_iovlen = 1};
	if (s->wildcard && reply->peer.in4.sin_family == AF_INET) {
		control_fill(hdr, &r->controls[at], IPPROTO_IP, IP_PKTINFO, &reply->local.in4,
			     sizeof(reply->local.in4));
	} else if (s->wildcard) {
		control_fill(hdr, &r->controls[at], IPPROTO_IPV6, IPV6_PKTINFO, &reply->local.in6,
			     sizeof(reply->local.in6));
	}
	if (r->count == UDP_REPLIES) {
		udp_flush(w);
	}
}

void udp_flush(struct worker *w)
{
	struct udp_replies *r = w->udp.replies;

	if (r->count > 0) {
		batch_send(w, r->owner->fd, r->out, r->count);
		r->count = 0;
	}
}

void udp_stop(struct worker *w)
{
	for (size_t i = 0; i < w->udp.count; i++) {
		struct udp_socket *s = &w->udp.sockets[i];
		if (s->polling) {
			socket_read(s, UDP_STOP_TURN);
			s->polling = false;
			uv_close((uv_handle_t *)&s->poll, NULL);
		}
	}
}

void udp_fini(struct udp *u)
{
	for (size_t i = 0; i < u->count; i++) {
		if (u->sockets[i].fd >= 0) {
			close(u->sockets[i].fd);
		}
	}
	free(u->sockets);
	free(u->batch);
	free(u->replies);
	*u = (struct udp){0};
}
