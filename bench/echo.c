/* The floor of any UDP server: reads in batches, sends back what came, padded to a size, and does
 * nothing else.
 *
 * usage: echo PORT SIZE. Answers are SIZE octets, the question's first octets with QR set and
 * QDCOUNT kept, so that a DNS load generator counts them as replies. Blocking recvmmsg and
 * sendmmsg; ends on SIGTERM, then says the mean batch. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH	  64
#define SIZE_MAX_ 4096

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static int open_socket(uint16_t port)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return -1;
	}
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int room = 4 << 20;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static uint8_t data[BATCH][SIZE_MAX_];
	static struct sockaddr_storage from[BATCH];
	static struct iovec iov[BATCH];
	static struct mmsghdr msgs[BATCH];
	if (argc != 3) {
		fprintf(stderr, "usage: echo PORT SIZE\n");
		return 2;
	}
	size_t size = (size_t)strtoul(argv[2], NULL, 10);
	int fd = open_socket((uint16_t)strtoul(argv[1], NULL, 10));
	if (fd < 0 || size < 12 || size > SIZE_MAX_) {
		perror("echo");
		return 1;
	}
	struct sigaction sa = {.sa_handler = on_term};
	sigaction(SIGTERM, &sa, NULL);
	uint64_t packets = 0, batches = 0;
	while (!ended) {
		for (unsigned i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){data[i], SIZE_MAX_};
			msgs[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
							  .msg_namelen = sizeof(from[i]),
							  .msg_iov = &iov[i],
							  .msg_iovlen = 1};
		}
		int n = recvmmsg(fd, msgs, BATCH, MSG_WAITFORONE, NULL);
		if (n <= 0) {
			if (errno == EINTR) {
				continue;
			}
			break;
		}
		for (int i = 0; i < n; i++) {
			data[i][2] |= 0x80;
			memset(data[i] + 6, 0, 6);
			iov[i].iov_len = size;
		}
		(void)sendmmsg(fd, msgs, (unsigned)n, 0);
		packets += (uint64_t)n;
		batches++;
	}
	fprintf(stderr, "echo: %llu packets, mean batch %.1f\n", (unsigned long long)packets,
		batches == 0 ? 0.0 : (double)packets / (double)batches);
	close(fd);
	return 0;
}
