#include "nsd-core/tls.h"

#include "nsd-core/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct tls_context {
	const char *certificate;
	const char *key;
	struct file_stamps stamps; /* theirs, when they were last read */
	pthread_mutex_t lock;	   /* what follows */
	SSL_CTX *ctx;
	int64_t not_after_s;
};

struct tls {
	SSL *ssl;
	BIO *in;
	BIO *out;
	bool ended; /* we say no more */
};

static const uint8_t alpn_dot[] = {3, 'd', 'o', 't'};

/* Who does not offer it is refused as well: see tls_read(). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned in_len, void *arg)
{
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_len, alpn_dot, sizeof(alpn_dot), in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED) {
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Files that ask for a passphrase are refused, not waited for at a terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

/* OpenSSL's last word on a file. */
static enum status file_fault(const char *path, const char *what, struct diags *d)
{
	unsigned long err = ERR_peek_last_error();
	const char *why = err != 0 ? ERR_reason_error_string(err) : NULL;

	diags_add(d, DIAG_ERROR, path, 0, 0, "%s%s%s", what, why != NULL ? ": " : "",
		  why != NULL ? why : "");
	ERR_clear_error();
	return ST_EPARSE;
}

static enum status ctx_load(SSL_CTX *ctx, const struct tls_context *c, int64_t *not_after_s,
			    struct diags *d)
{
	struct tm tm;

	if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1) {
		return file_fault(c->certificate, "no certificate in PEM can be read", d);
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1) {
		return file_fault(c->key, "not the key of the certificate, or none in PEM", d);
	}
	if (SSL_CTX_check_private_key(ctx) != 1) {
		return file_fault(c->key, "not the key of the certificate", d);
	}
	const X509 *x = SSL_CTX_get0_certificate(ctx);
	if (x == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1) {
		return file_fault(c->certificate, "the certificate has no end", d);
	}
	*not_after_s = timegm(&tm);
	return ST_OK;
}

static enum status ctx_new(const struct tls_context *c, SSL_CTX **out, int64_t *not_after_s,
			   struct diags *d)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		return ST_ENOMEM;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	enum status st = ctx_load(ctx, c, not_after_s, d);
	if (st != ST_OK) {
		SSL_CTX_free(ctx);
		return st;
	}
	*out = ctx;
	return ST_OK;
}

enum status tls_context_refresh(struct tls_context *c, struct diags *d)
{
	const char *const paths[] = {c->certificate, c->key};
	struct file_stamps stamps;
	SSL_CTX *ctx;
	int64_t not_after_s = 0;
	enum status st = file_stamps_take(paths, 2, file_stamps_now_ns(), &stamps);

	if (st != ST_OK) {
		return st;
	}
	if (file_stamps_equal(&stamps, &c->stamps)) {
		file_stamps_fini(&stamps);
		return ST_ENOENT;
	}
	st = ctx_new(c, &ctx, &not_after_s, d);
	if (st != ST_OK) {
		file_stamps_fini(&stamps);
		return st;
	}
	file_stamps_fini(&c->stamps);
	c->stamps = stamps;
	pthread_mutex_lock(&c->lock);
	SSL_CTX *old = c->ctx;
	c->ctx = ctx;
	c->not_after_s = not_after_s;
	pthread_mutex_unlock(&c->lock);
	SSL_CTX_free(old);
	return ST_OK;
}

enum status tls_context_new(const char *certificate, const char *key, struct tls_context **out,
			    struct diags *d)
{
	struct tls_context *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		return ST_ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->certificate = certificate;
	c->key = key;
	enum status st = tls_context_refresh(c, d);
	if (st != ST_OK) {
		tls_context_free(c);
		return st;
	}
	*out = c;
	return ST_OK;
}

void tls_context_try(const struct tls_context *c, struct diags *d)
{
	const char *const paths[] = {c->certificate, c->key};

	for (size_t i = 0; i < 2; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			diags_add(d, DIAG_WARNING, paths[i], 0, 0,
				  "cannot be read again when it is renewed: %s", strerror(errno));
		} else {
			close(fd);
		}
	}
}

int64_t tls_context_not_after(struct tls_context *c)
{
	pthread_mutex_lock(&c->lock);
	int64_t at = c->not_after_s;
	pthread_mutex_unlock(&c->lock);
	return at;
}

void tls_context_free(struct tls_context *c)
{
	if (c == NULL) {
		return;
	}
	SSL_CTX_free(c->ctx);
	file_stamps_fini(&c->stamps);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

enum status tls_new(struct tls_context *c, struct tls **out)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		return ST_ENOMEM;
	}
	pthread_mutex_lock(&c->lock);
	t->ssl = SSL_new(c->ctx);
	pthread_mutex_unlock(&c->lock);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (t->ssl == NULL || t->in == NULL || t->out == NULL) {
		BIO_free(t->in);
		BIO_free(t->out);
		SSL_free(t->ssl);
		free(t);
		ERR_clear_error();
		return ST_ENOMEM;
	}
	SSL_set_bio(t->ssl, t->in, t->out); /* which has both from now on */
	SSL_set_accept_state(t->ssl);
	*out = t;
	return ST_OK;
}

void tls_free(struct tls *t)
{
	if (t != NULL) {
		SSL_free(t->ssl);
		free(t);
	}
}

enum status tls_feed(struct tls *t, const uint8_t *data, size_t len)
{
	size_t done;

	return BIO_write_ex(t->in, data, len, &done) == 1 && done == len ? ST_OK : ST_ENOMEM;
}

/* RFC 9103: both sides speak "dot", or there is nothing to say. */
static bool is_dot(const struct tls *t)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(t->ssl, &name, &len);
	return len == sizeof(alpn_dot) - 1 && memcmp(name, alpn_dot + 1, len) == 0;
}

enum status tls_read(struct tls *t, uint8_t *out, size_t room, size_t *len)
{
	*len = 0;
	ERR_clear_error();
	int done = SSL_read_ex(t->ssl, out, room, len);
	int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, done);
	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl) && !is_dot(t)) {
		return ST_EPARSE;
	}
	switch (why) {
	case SSL_ERROR_NONE:
	case SSL_ERROR_WANT_READ:
		return ST_OK;
	case SSL_ERROR_ZERO_RETURN:
		return ST_EREFUSED;
	default:
		return ST_EPARSE;
	}
}

enum status tls_write(struct tls *t, const uint8_t *data, size_t len)
{
	size_t done;

	ERR_clear_error();
	if (t->ended || !SSL_is_init_finished(t->ssl)) {
		return ST_EAGAIN;
	}
	bool whole = SSL_write_ex(t->ssl, data, len, &done) == 1 && done == len;
	ERR_clear_error();
	return whole ? ST_OK : ST_ENOMEM;
}

void tls_end(struct tls *t)
{
	if (!t->ended && SSL_is_init_finished(t->ssl)) {
		(void)SSL_shutdown(t->ssl);
		ERR_clear_error();
	}
	t->ended = true;
}

const uint8_t *tls_pending(struct tls *t, size_t *len)
{
	char *data = NULL;
	long n = BIO_get_mem_data(t->out, &data);

	*len = n > 0 ? (size_t)n : 0;
	return (const uint8_t *)data;
}

void tls_taken(struct tls *t)
{
	(void)BIO_reset(t->out);
}
