#include "hsm/file_pem.h"

#include "nsd-core/base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#define LABEL_MAX	200
#define PASSPHRASE_MAX	1024
#define ENCRYPTED_BEGIN "-----BEGIN ENCRYPTED PRIVATE KEY-----"
/* OpenSSL's own choice for scrypt (RFC 7914): 16 MB, and some 50 ms of a core. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1

struct passphrase {
	char text[PASSPHRASE_MAX];
	size_t len;
};

/* The first line of the file. The caller wipes *out. */
static enum status passphrase_read(const char *path, struct passphrase *out, struct fault *f)
{
	struct stat sb;
	size_t have = 0;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0 && fstat(fd, &sb) == 0) {
		do {
			n = read(fd, out->text + have, sizeof(out->text) - have);
			have += n > 0 ? (size_t)n : 0;
		} while (have < sizeof(out->text) && (n > 0 || (n < 0 && errno == EINTR)));
	}
	int err = errno;
	if (fd >= 0) {
		close(fd);
	}
	if (n < 0) {
		fault_set(f, FAULT_REQUEST, "cannot read the passphrase file %s: %s", path,
			  strerror(err));
		/* Never "absent": that is for keys. */
		return err == EACCES || err == EPERM ? ST_EACCES : ST_EIO;
	}
	if ((sb.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
		fault_set(f, FAULT_REQUEST,
			  "passphrase file %s has mode %04o: others may use it (chmod 600)", path,
			  (unsigned)(sb.st_mode & 07777));
		return ST_EACCES;
	}
	out->len = 0;
	while (out->len < have && out->text[out->len] != '\n' && out->text[out->len] != '\r' &&
	       out->text[out->len] != '\0') {
		out->len++;
	}
	if (out->len == 0 || out->len == sizeof(out->text)) {
		fault_set(f, FAULT_REQUEST, "the first line of the passphrase file %s is %s", path,
			  out->len == 0 ? "empty" : "too long");
		return ST_EFATAL;
	}
	return ST_OK;
}

/* Nothing may ask a terminal for a password. */
static int no_password(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)ctx;
	return -1;
}

static enum status decrypt(BIO *bio, const char *name, const char *passphrase_file, EVP_PKEY **out,
			   struct fault *f)
{
	struct passphrase pass = {.len = 0};
	PKCS8_PRIV_KEY_INFO *info = NULL;
	X509_SIG *sealed = NULL;
	enum status st = ST_OK;

	if (passphrase_file == NULL) {
		fault_set(f, FAULT_REQUEST,
			  "%s is encrypted, and the keystore has no passphrase-file", name);
		return ST_EFATAL;
	}
	st = passphrase_read(passphrase_file, &pass, f);
	if (st != ST_OK) {
		goto out;
	}
	sealed = PEM_read_bio_PKCS8(bio, NULL, no_password, NULL);
	if (sealed != NULL) {
		info = PKCS8_decrypt(sealed, pass.text, (int)pass.len);
	}
	if (sealed != NULL && info == NULL) {
		fault_set(f, FAULT_REQUEST, "the passphrase in %s does not open %s",
			  passphrase_file, name);
		st = ST_EFATAL;
		goto out;
	}
	*out = info != NULL ? EVP_PKCS82PKEY(info) : NULL;
out:
	wipe(&pass, sizeof(pass));
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_SIG_free(sealed);
	return st;
}

enum status key_pem_decode(const uint8_t *data, size_t len, const char *name,
			   const char *passphrase_file, EVP_PKEY **out, struct fault *f)
{
	uint8_t point[HSM_PUBLIC_LEN];
	EVP_PKEY *pkey = NULL;
	enum status st = ST_OK;
	BIO *bio = BIO_new_mem_buf(data, (int)len);

	if (bio == NULL) {
		return ST_ENOMEM;
	}
	if (memmem(data, len, ENCRYPTED_BEGIN, strlen(ENCRYPTED_BEGIN)) != NULL) {
		st = decrypt(bio, name, passphrase_file, &pkey, f);
	} else {
		pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	}
	if (st == ST_OK && (pkey == NULL || public_key_point(pkey, point) != ST_OK)) {
		fault_set(f, FAULT_REQUEST, "%s holds no ECDSA P-256 private key in PEM", name);
		st = ST_ECRYPTO;
	}
	BIO_free(bio);
	ERR_clear_error();
	if (st != ST_OK) {
		EVP_PKEY_free(pkey);
		return st;
	}
	*out = pkey;
	return ST_OK;
}

static enum status encrypt(EVP_PKEY *pkey, const char *passphrase_file, BIO *out, struct fault *f)
{
	struct passphrase pass = {.len = 0};
	PKCS8_PRIV_KEY_INFO *info = NULL;
	X509_ALGOR *scheme = NULL;
	X509_SIG *sealed = NULL;
	enum status st = passphrase_read(passphrase_file, &pass, f);

	if (st != ST_OK) {
		goto out;
	}
	info = EVP_PKEY2PKCS8(pkey);
	scheme = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R,
				       SCRYPT_P);
	if (info != NULL && scheme != NULL) {
		sealed = PKCS8_set0_pbe(pass.text, (int)pass.len, info, scheme);
	}
	if (sealed != NULL) {
		scheme = NULL; /* its own now */
	}
	if (sealed == NULL || PEM_write_bio_PKCS8(out, sealed) != 1) {
		fault_set(f, FAULT_REQUEST, "OpenSSL cannot encrypt a key");
		st = ST_ECRYPTO;
	}
out:
	wipe(&pass, sizeof(pass));
	X509_ALGOR_free(scheme);
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_SIG_free(sealed);
	return st;
}

enum status key_pem_encode(EVP_PKEY *pkey, const char *label, const char *passphrase_file, BIO *out,
			   struct fault *f)
{
	char line[LABEL_MAX + 1];
	size_t n = 0;
	enum status st = ST_OK;

	for (const char *p = label; p != NULL && *p != '\0' && n < LABEL_MAX; p++) {
		line[n++] = *p >= ' ' && *p <= '~' ? *p : '_';
	}
	line[n] = '\0';
	if (BIO_printf(out, "label: %s\n", line) < 0) {
		st = ST_ENOMEM;
	} else if (passphrase_file != NULL) {
		st = encrypt(pkey, passphrase_file, out, f);
	} else if (PEM_write_bio_PKCS8PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL) != 1) {
		fault_set(f, FAULT_REQUEST, "OpenSSL cannot write a key");
		st = ST_ECRYPTO;
	}
	ERR_clear_error();
	return st;
}

/* The uncompressed public point of a number in 1 to n - 1. */
static bool public_point(const EC_GROUP *group, const BIGNUM *number, uint8_t *out)
{
	EC_POINT *point = EC_POINT_new(group);
	bool good = point != NULL && !BN_is_zero(number) &&
		    BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
		    EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1 &&
		    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out,
				       POINT_UNCOMPRESSED_LEN, NULL) == POINT_UNCOMPRESSED_LEN;

	EC_POINT_free(point);
	return good;
}

static EVP_PKEY *key_from(const BIGNUM *number, const uint8_t *point)
{
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM *params = NULL;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);

	if (bld != NULL &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
					     POINT_UNCOMPRESSED_LEN) == 1) {
		params = OSSL_PARAM_BLD_to_param(bld);
	}
	if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1) {
		pkey = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	return pkey;
}

enum status private_key_new(const uint8_t number[HSM_PRIVATE_LEN], EVP_PKEY **out)
{
	uint8_t point[POINT_UNCOMPRESSED_LEN];
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *bn = BN_secure_new();
	EVP_PKEY *pkey = NULL;

	if (group != NULL && bn != NULL && BN_bin2bn(number, HSM_PRIVATE_LEN, bn) != NULL &&
	    public_point(group, bn, point)) {
		pkey = key_from(bn, point);
	}
	BN_clear_free(bn);
	EC_GROUP_free(group);
	ERR_clear_error();
	if (pkey == NULL) {
		return ST_ECRYPTO;
	}
	*out = pkey;
	return ST_OK;
}

enum status hsm_public_of(const uint8_t number[HSM_PRIVATE_LEN], uint8_t point[HSM_PUBLIC_LEN])
{
	EVP_PKEY *pkey = NULL;
	enum status st = private_key_new(number, &pkey);

	if (st == ST_OK) {
		st = public_key_point(pkey, point);
	}
	EVP_PKEY_free(pkey);
	return st;
}
