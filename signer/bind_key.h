/* The two files in which BIND's tools keep a key: K*.private and K*.key. */
#pragma once

#include "hsm/hsm.h"
#include "nsd-core/base/name.h"

#define BIND_FILE_MAX 16384 /* octets that are read of either file */

/* What the .key file says: one DNSKEY record of algorithm 13. */
struct bind_dnskey {
	uint8_t owner[NAME_MAX_LEN]; /* lower case */
	uint16_t flags;		     /* 256 or 257 */
	uint8_t public_point[HSM_PUBLIC_LEN];
};

/* The private number of "Private-key-format: v1.x" text. 'name' is the file's, for what d says,
 * which never holds a value of the file. The caller wipes text and number. ST_EPARSE; ST_ENOTSUP:
 * of another algorithm, or kept in a device. */
enum status bind_private_parse(const char *name, const char *text, size_t len,
			       uint8_t number[HSM_PRIVATE_LEN], struct diags *d) MUST_USE;
/* ST_EPARSE; ST_ENOTSUP: of another algorithm, or revoked. */
enum status bind_dnskey_parse(const char *name, const char *text, size_t len,
			      struct bind_dnskey *out, struct diags *d) MUST_USE;
