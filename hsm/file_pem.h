/* The content of key files: PKCS#8 in PEM, plain or encrypted (PBES2, RFC 8018). */
#pragma once

#include "hsm/backend.h"

#include <openssl/bio.h>

/* An encrypted key is opened with the passphrase in that file (NULL: there is none). *out belongs
 * to the caller. ST_EFATAL: encrypted, and the passphrase is missing or not the one; ST_EACCES,
 * ST_EIO: the passphrase cannot be read; ST_ECRYPTO: no key. 'name' is for what f says. */
enum status key_pem_decode(const uint8_t *data, size_t len, const char *name,
			   const char *passphrase_file, EVP_PKEY **out, struct fault *f) MUST_USE;
/* The label goes before the PEM block, where readers of PEM skip it. Encrypted where there is a
 * passphrase file. */
enum status key_pem_encode(EVP_PKEY *pkey, const char *label, const char *passphrase_file, BIO *out,
			   struct fault *f) MUST_USE;

/* The key pair of a private number. ST_ECRYPTO: not one of P-256. */
enum status private_key_new(const uint8_t number[HSM_PRIVATE_LEN], EVP_PKEY **out) MUST_USE;
