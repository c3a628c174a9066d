/* TLS for transfers (RFC 9103): version 1.3, ALPN "dot", the server's side.
 *
 * A connection is bytes in and bytes out, without a socket: what the client sends is fed, what it
 * says is read, what is said to it is written, and what goes to the client is taken. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The certificate and its key, for any number of connections on any thread. */
struct tls_context;
/* One connection; one thread. */
struct tls;

/* Reads both files: PEM, the certificate with its chain, the key without a passphrase. Both paths
 * are borrowed. ST_EPARSE: a diag says which and why. */
enum status tls_context_new(const char *certificate, const char *key, struct tls_context **out,
			    struct diags *d) MUST_USE;
/* Reads them again where either changed since they were last read; connections that are open keep
 * what they had. ST_OK: read; ST_ENOENT: they have not changed; else as tls_context_new(), and what
 * was there before stays. Blocks; one thread at a time. */
enum status tls_context_refresh(struct tls_context *c, struct diags *d) MUST_USE;
/* Could both be read again now? A warning says which could not. */
void tls_context_try(const struct tls_context *c, struct diags *d);
/* When the certificate ends, in seconds since 1970. */
int64_t tls_context_not_after(struct tls_context *c);
void tls_context_free(struct tls_context *c); /* takes NULL; connections may outlive it */

/* ST_ENOMEM. */
enum status tls_new(struct tls_context *c, struct tls **out) MUST_USE;
void tls_free(struct tls *t); /* takes NULL */

/* What came from the client. ST_ENOMEM. */
enum status tls_feed(struct tls *t, const uint8_t *data, size_t len) MUST_USE;
/* What it said, at most room octets. ST_OK: *len of them, 0: no more for now. ST_EREFUSED: it says
 * no more. ST_EPARSE: that was not TLS, not this version, or not for "dot". */
enum status tls_read(struct tls *t, uint8_t *out, size_t room, size_t *len) MUST_USE;
/* To be said to it, all of it. ST_EAGAIN: not before the handshake is through. */
enum status tls_write(struct tls *t, const uint8_t *data, size_t len) MUST_USE;
/* Nothing more will be said: the client is told. */
void tls_end(struct tls *t);
/* What goes to the client now; valid until the next call. */
const uint8_t *tls_pending(struct tls *t, size_t *len);
void tls_taken(struct tls *t); /* all that was pending */
