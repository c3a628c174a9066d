/* The sockets that workers listen on: one per worker, address and transport, sharing the port
 * (SO_REUSEPORT), so that the kernel spreads the clients. */
#pragma once

#include "nsd-core/conf.h"

/* Bound, non-blocking, close-on-exec. ST_EACCES, ST_EBUSY (in use), ST_EIO; 'd' says what and
 * where. 'buffer_bytes': receive buffer asked for. */
enum status socket_udp(const struct conf_address *a, uint32_t buffer_bytes, int *out,
		       struct diags *d) MUST_USE;
/* Its connections send at once what they are given (TCP_NODELAY). */
enum status socket_tcp(const struct conf_address *a, int *out, struct diags *d) MUST_USE;
/* Does another program have the address? Asked before the first of ours is bound: with SO_REUSEPORT
 * two servers of one user would share the clients without a word. */
enum status socket_probe(const struct conf_address *a, bool tcp_only, struct diags *d) MUST_USE;
#define SOCKET_TEXT_MAX 64
/* "ADDRESS@PORT"; buf has SOCKET_TEXT_MAX. Returns buf. */
char *socket_text(const struct sockaddr *addr, char *buf);
/* 0.0.0.0 or ::, where a reply must be told which address to leave from. */
bool socket_is_wildcard(const struct conf_address *a);
/* Where messages of ours leave from: others know us by the address that we serve at, so it is the
 * first of these in the family that can be told from outside, with any port; or any address. */
struct sockaddr_storage socket_source(const struct conf_server *conf, bool six);
