#include "nsd-core/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

static enum status failed(const struct conf_address *a, const char *transport, struct diags *d)
{
	int err = errno;

	diags_error(d, "%s (%s): %s", a->text, transport, strerror(err));
	return err == EADDRINUSE ? ST_EBUSY : err == EACCES ? ST_EACCES : ST_EIO;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

bool socket_is_wildcard(const struct conf_address *a)
{
	if (a->addr.ss_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->addr;
		return in4->sin_addr.s_addr == htonl(INADDR_ANY);
	}
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->addr;
	return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

/* -1 with errno where it fails. */
static int socket_bound(const struct conf_address *a, int type, bool share)
{
	int fd = socket(a->addr.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		return -1;
	}
	if ((a->addr.ss_family == AF_INET6 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) ||
	    (type == SOCK_STREAM && set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0) ||
	    (share && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) ||
	    bind(fd, (const struct sockaddr *)&a->addr, a->len) != 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

/* Never a fragment, whatever path MTU somebody forged (RFC 9715): OMIT ignores what ICMP says and
 * leaves DF off; DONT is the older half of it. */
static int forbid_path_mtu(int fd, int family)
{
	if (family == AF_INET) {
		return set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT) == 0
			       ? 0
			       : set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	}
	return set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT) == 0
		       ? 0
		       : set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

/* On every packet it costs, so only where it is needed. */
static int want_local_address(int fd, int family)
{
	return family == AF_INET ? set_int(fd, IPPROTO_IP, IP_PKTINFO, 1)
				 : set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

enum status socket_udp(const struct conf_address *a, uint32_t buffer_bytes, int *out,
		       struct diags *d)
{
	int family = a->addr.ss_family;
	int fd = socket_bound(a, SOCK_DGRAM, true);

	if (fd < 0) {
		return failed(a, "UDP", d);
	}
	if (forbid_path_mtu(fd, family) != 0 ||
	    (socket_is_wildcard(a) && want_local_address(fd, family) != 0) ||
	    set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)buffer_bytes) != 0 ||
	    set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)buffer_bytes) != 0) {
		enum status st = failed(a, "UDP", d);
		close(fd);
		return st;
	}
	*out = fd;
	return ST_OK;
}

enum status socket_tcp(const struct conf_address *a, int *out, struct diags *d)
{
	int fd = socket_bound(a, SOCK_STREAM, true);

	if (fd < 0) {
		return failed(a, "TCP", d);
	}
	/* Of each connection, which has it from its listener: no call for every one. */
	if (set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0) {
		enum status st = failed(a, "TCP", d);
		close(fd);
		return st;
	}
	*out = fd;
	return ST_OK;
}

enum status socket_probe(const struct conf_address *a, bool tcp_only, struct diags *d)
{
	static const int types[] = {SOCK_DGRAM, SOCK_STREAM};

	for (size_t i = tcp_only ? 1 : 0; i < 2; i++) {
		int fd = socket_bound(a, types[i], false);
		if (fd < 0) {
			return failed(a, types[i] == SOCK_DGRAM ? "UDP" : "TCP", d);
		}
		close(fd);
	}
	return ST_OK;
}

char *socket_text(const struct sockaddr *addr, char *buf)
{
	char host[INET6_ADDRSTRLEN] = "";
	unsigned port = 0;

	if (addr->sa_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		port = ntohs(in4->sin_port);
	} else if (addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		port = ntohs(in6->sin6_port);
	}
	snprintf(buf, SOCKET_TEXT_MAX, "%s@%u", host[0] != '\0' ? host : "?", port);
	return buf;
}

static bool is_local(const struct conf_address *a)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a->addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->addr;

	return a->addr.ss_family == AF_INET ? ntohl(in4->sin_addr.s_addr) >> 24 == 127
					    : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

struct sockaddr_storage socket_source(const struct conf_server *conf, bool six)
{
	struct sockaddr_storage from = {.ss_family = six ? AF_INET6 : AF_INET};

	for (size_t i = 0; i < conf->listen_count; i++) {
		const struct conf_address *a = &conf->listen[i];
		if (a->addr.ss_family == from.ss_family && !socket_is_wildcard(a) && !is_local(a)) {
			from = a->addr;
			break;
		}
	}
	/* The port stands at the same place in both families. */
	((struct sockaddr_in *)&from)->sin_port = 0;
	return from;
}
