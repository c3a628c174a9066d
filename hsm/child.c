#include "hsm/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_fd(int fd)
{
	if (fd >= 0) {
		close(fd);
	}
}

void child_unref(struct child *c)
{
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1) {
		return;
	}
	close_fd(c->calls);
	for (unsigned i = 0; i < c->lane_count; i++) {
		close_fd(c->lanes[i]);
	}
	close_fd(c->pidfd);
	free(c->lanes);
	free(c);
}

void child_shut(struct child *c)
{
	shutdown(c->calls, SHUT_RDWR);
	for (unsigned i = 0; i < c->lane_count; i++) {
		shutdown(c->lanes[i], SHUT_RDWR);
	}
}

/* The pid is good until it is reaped. */
void child_end(struct child *c, int patience_ms)
{
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
	if (c->pid <= 0) {
		return;
	}
	child_shut(c);
	if (patience_ms == 0 || poll(&p, 1, patience_ms) != 1) {
		syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
	}
	/* Linux may say so a moment before there is something to reap: it is waited for. */
	if (poll(&p, 1, CHILD_REAP_MS) == 1) {
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
		}
	}
	c->pid = 0;
}

enum status child_set_patience(int fd, int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};
	int err = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return err == 0 ? ST_OK : status_from_errno(errno);
}

static enum status socket_pair(int *mine, int *theirs)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		return status_from_errno(errno);
	}
	*mine = fds[0];
	*theirs = fds[1];
	return ST_OK;
}

/* Its descriptors: nothing to read, standard error for what modules say, its sockets from HOST_FD
 * on. They are lifted out of the way first, since any of them may have a number that is another's
 * place. */
static enum status child_spawn(const char *name, int *theirs, unsigned count, pid_t *pid)
{
	char title[96];
	char argument[] = HOST_ARGUMENT;
	char *argv[] = {title, argument, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;

	snprintf(title, sizeof(title), "signetd: keystore %.63s", name);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	int err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	err = err != 0 ? err
		       : posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (unsigned i = 0; i < count && err == 0; i++) {
		int lifted = fcntl(theirs[i], F_DUPFD_CLOEXEC, HOST_FD + (int)count);
		if (lifted < 0) {
			err = errno;
			break;
		}
		close(theirs[i]);
		theirs[i] = lifted;
		err = posix_spawn_file_actions_adddup2(&actions, lifted, HOST_FD + (int)i);
	}
	err = err != 0 ? err
		       : posix_spawn_file_actions_addclosefrom_np(&actions, HOST_FD + (int)count);
	err = err != 0 ? err : posix_spawnattr_setsigmask(&attr, &none);
	err = err != 0 ? err : posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	if (err == 0) {
		err = posix_spawn(pid, "/proc/self/exe", &actions, &attr, argv, environ);
	}
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return err == 0 ? ST_OK : status_from_errno(err);
}

enum status child_new(const struct keystore_options *opt, int patience_ms, struct child **out)
{
	unsigned count = opt->sessions + 1;
	struct child *c = calloc(1, sizeof(*c));
	int *theirs = calloc(count, sizeof(*theirs));
	int *lanes = calloc(opt->sessions, sizeof(*lanes));
	enum status st = ST_OK;
	unsigned made = 0;

	if (c == NULL || theirs == NULL || lanes == NULL) {
		free(lanes);
		free(theirs);
		free(c);
		return ST_ENOMEM;
	}
	*c = (struct child){.pidfd = -1, .calls = -1, .lanes = lanes};
	atomic_init(&c->refs, 1);
	for (; made < count && st == ST_OK; made++) {
		theirs[made] = -1;
		int *mine = made == 0 ? &c->calls : &lanes[made - 1];
		st = socket_pair(mine, &theirs[made]);
		c->lane_count += st == ST_OK && made > 0;
		if (st == ST_OK) {
			st = child_set_patience(*mine, made == 0 ? patience_ms : LANE_STUCK_MS);
		}
	}
	if (st == ST_OK) {
		st = child_spawn(opt->name, theirs, count, &c->pid);
	}
	if (st == ST_OK) {
		c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
		if (c->pidfd < 0) {
			st = status_from_errno(errno);
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
	}
	for (unsigned i = 0; i < made; i++) {
		close_fd(theirs[i]);
	}
	free(theirs);
	if (st != ST_OK) {
		child_unref(c);
		return st;
	}
	*out = c;
	return ST_OK;
}

bool child_send(int fd, const struct host_request *rq, size_t len)
{
	ssize_t n;
	do {
		n = send(fd, rq, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)len) {
		/* Who waits for the answer is told. */
		shutdown(fd, SHUT_RDWR);
	}
	return n == (ssize_t)len;
}

static enum status inbox_fill(struct child_inbox *in, int fd)
{
	ssize_t n;
	do {
		n = recv(fd, in->data, sizeof(in->data), MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		return ST_ETIMEDOUT;
	}
	if (n <= 0 || n > (ssize_t)sizeof(in->data) ||
	    (n != (ssize_t)sizeof(struct host_reply) && n % (ssize_t)HOST_REPLY_SHORT != 0)) {
		return ST_EIO;
	}
	in->len = (size_t)n;
	in->at = 0;
	return ST_OK;
}

enum status child_receive(int fd, struct child_inbox *in, uint32_t number, struct host_reply *reply)
{
	enum status st = in->at == in->len ? inbox_fill(in, fd) : ST_OK;
	if (st != ST_OK) {
		return st;
	}
	bool is_short = in->len != sizeof(*reply);
	size_t len = is_short ? HOST_REPLY_SHORT : sizeof(*reply);
	memcpy(reply, in->data + in->at, len);
	in->at += len;
	if (is_short) {
		reply->guard_len = 0;
	}
	/* ST_EBUSY is ours: there is no answer yet. */
	return reply->number == number && reply->status >= ST_OK &&
			       reply->status <= (is_short ? ST_OK : ST_EFATAL) &&
			       reply->status != ST_EBUSY &&
			       reply->len <= sizeof(reply->signature) &&
			       reply->guard_len <= sizeof(reply->guard)
		       ? ST_OK
		       : ST_EIO;
}
