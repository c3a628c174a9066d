/* The floor of any UDP server: reads in batches, sends back what came, padded to a size, and does
 * nothing else.
 *
 * usage: echo PORT SIZE [block|poll [ADDRESS [THREADS]]]. Answers are SIZE octets, the question's
 * first octets with QR set and QDCOUNT kept, so that a DNS load generator counts them as replies.
 * 'block' waits in recvmmsg; 'poll' waits as a libuv server must, in epoll, and then reads without
 * blocking. Each thread has a socket of its own. Ends on SIGTERM, then says the mean batch on
 * stderr. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define BATCH	     64
#define MESSAGE_MAX  4096
#define HEADER_BYTES 12
#define THREADS_MAX  4

struct echo {
	int fd;
	bool poll;
	size_t size;
	_Atomic(uint64_t) packets, batches; /* written by the loop's thread alone */
	uint8_t data[BATCH][MESSAGE_MAX];
	struct sockaddr_storage from[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
};

static int open_socket(const char *address, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return -1;
	}
	int room = 4 << 20;
	int on = 1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void count_add(_Atomic(uint64_t) *counter, uint64_t n)
{
	uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

/* One batch read and sent back; how many it held, 0 where there was none or a fault. */
static unsigned echo_batch(struct echo *e, int flags)
{
	for (unsigned i = 0; i < BATCH; i++) {
		e->iov[i] = (struct iovec){e->data[i], MESSAGE_MAX};
		e->msgs[i].msg_hdr = (struct msghdr){.msg_name = &e->from[i],
						     .msg_namelen = sizeof(e->from[i]),
						     .msg_iov = &e->iov[i],
						     .msg_iovlen = 1};
	}
	int n = recvmmsg(e->fd, e->msgs, BATCH, flags, NULL);
	if (n <= 0) {
		return 0;
	}
	for (int i = 0; i < n; i++) {
		e->data[i][2] |= 0x80;
		memset(e->data[i] + 6, 0, 6);
		e->iov[i].iov_len = e->size;
	}
	(void)sendmmsg(e->fd, e->msgs, (unsigned)n, 0);
	count_add(&e->packets, (uint64_t)n);
	count_add(&e->batches, 1);
	return (unsigned)n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct echo *e = poll->data;
	(void)status;
	(void)events;
	while (echo_batch(e, MSG_DONTWAIT) == BATCH) {
	}
}

static void loop_poll(struct echo *e)
{
	uv_loop_t loop;
	uv_poll_t poll;
	if (uv_loop_init(&loop) != 0 || uv_poll_init(&loop, &poll, e->fd) != 0) {
		return;
	}
	poll.data = e;
	if (uv_poll_start(&poll, UV_READABLE, on_readable) == 0) {
		uv_run(&loop, UV_RUN_DEFAULT);
	}
}

static void *loop_main(void *arg)
{
	struct echo *e = arg;
	if (e->poll) {
		loop_poll(e);
		return NULL;
	}
	for (;;) {
		(void)echo_batch(e, MSG_WAITFORONE);
	}
}

/* Ends the process while the loops' threads run: they have nothing to give back. */
static void say_and_exit(const struct echo *e, unsigned threads)
{
	uint64_t packets = 0;
	uint64_t batches = 0;
	for (unsigned i = 0; i < threads; i++) {
		packets += atomic_load(&e[i].packets);
		batches += atomic_load(&e[i].batches);
	}
	fprintf(stderr, "echo: %llu packets, mean batch %.2f\n", (unsigned long long)packets,
		batches == 0 ? 0.0 : (double)packets / (double)batches);
	_exit(0);
}

struct options {
	const char *address;
	uint16_t port;
	bool poll;
	size_t size;
	unsigned threads;
};

static bool options_read(int argc, char **argv, struct options *out)
{
	const char *mode = argc > 3 ? argv[3] : "block";
	out->poll = strcmp(mode, "poll") == 0;
	if (argc < 3 || argc > 6 || (!out->poll && strcmp(mode, "block") != 0)) {
		fprintf(stderr, "usage: echo PORT SIZE [block|poll [ADDRESS [THREADS]]]\n");
		return false;
	}
	out->port = (uint16_t)strtoul(argv[1], NULL, 10);
	out->size = (size_t)strtoul(argv[2], NULL, 10);
	out->address = argc > 4 ? argv[4] : "127.0.0.1";
	out->threads = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 1;
	if (out->size < HEADER_BYTES || out->size > MESSAGE_MAX) {
		fprintf(stderr, "echo: SIZE is %d to %d\n", HEADER_BYTES, MESSAGE_MAX);
		return false;
	}
	if (out->threads < 1 || out->threads > THREADS_MAX) {
		fprintf(stderr, "echo: THREADS is 1 to %d\n", THREADS_MAX);
		return false;
	}
	return true;
}

static bool echo_start(struct echo *e, const struct options *o)
{
	pthread_t thread;
	e->poll = o->poll;
	e->size = o->size;
	e->fd = open_socket(o->address, o->port);
	return e->fd >= 0 && pthread_create(&thread, NULL, loop_main, e) == 0;
}

int main(int argc, char **argv)
{
	static struct echo e[THREADS_MAX];
	struct options o;
	if (!options_read(argc, argv, &o)) {
		return 2;
	}
	/* A thread that waits for the signal leaves no moment in which a loop could miss it. */
	sigset_t term;
	int sig;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigaddset(&term, SIGINT);
	bool well = pthread_sigmask(SIG_BLOCK, &term, NULL) == 0;
	for (unsigned i = 0; i < o.threads && well; i++) {
		well = echo_start(&e[i], &o);
	}
	if (!well || sigwait(&term, &sig) != 0) {
		perror("echo");
		return 1;
	}
	say_and_exit(e, o.threads);
}
