/* The floor of any UDP server: reads in batches, sends back what came, padded to a size, and does
 * nothing else.
 *
 * usage: echo PORT SIZE [block|poll [ADDRESS]]. Answers are SIZE octets, the question's first
 * octets with QR set and QDCOUNT kept, so that a DNS load generator counts them as replies. 'block'
 * waits in recvmmsg; 'poll' waits as a libuv server must, in epoll, and then reads without
 * blocking. Ends on SIGTERM, then says the mean batch on stderr. */
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

/* Ends the process while the loop's thread runs: it has nothing to give back. */
static void say_and_exit(struct echo *e)
{
	uint64_t packets = atomic_load(&e->packets), batches = atomic_load(&e->batches);
	fprintf(stderr, "echo: %llu packets, mean batch %.2f\n", (unsigned long long)packets,
		batches == 0 ? 0.0 : (double)packets / (double)batches);
	_exit(0);
}

int main(int argc, char **argv)
{
	static struct echo e;
	const char *mode = argc > 3 ? argv[3] : "block";
	e.poll = strcmp(mode, "poll") == 0;
	if (argc < 3 || argc > 5 || (!e.poll && strcmp(mode, "block") != 0)) {
		fprintf(stderr, "usage: echo PORT SIZE [block|poll [ADDRESS]]\n");
		return 2;
	}
	e.size = (size_t)strtoul(argv[2], NULL, 10);
	if (e.size < HEADER_BYTES || e.size > MESSAGE_MAX) {
		fprintf(stderr, "echo: SIZE is %d to %d\n", HEADER_BYTES, MESSAGE_MAX);
		return 2;
	}
	e.fd = open_socket(argc > 4 ? argv[4] : "127.0.0.1", (uint16_t)strtoul(argv[1], NULL, 10));
	if (e.fd < 0) {
		perror("echo");
		return 1;
	}
	/* A thread that waits for the signal leaves no moment in which the loop could miss it. */
	sigset_t term;
	pthread_t thread;
	int sig;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigaddset(&term, SIGINT);
	if (pthread_sigmask(SIG_BLOCK, &term, NULL) != 0 ||
	    pthread_create(&thread, NULL, loop_main, &e) != 0 || sigwait(&term, &sig) != 0) {
		perror("echo");
		return 1;
	}
	say_and_exit(&e);
}
