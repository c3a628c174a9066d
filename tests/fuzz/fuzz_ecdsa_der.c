/* What is taken as DER is the one encoding of its values: it encodes back to the same octets. */
#include "hsm/verify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[HSM_SIGNATURE_LEN];
	uint8_t again[ECDSA_DER_MAX];
	if (ecdsa_der_decode(data, size, raw) == ST_OK &&
	    (ecdsa_der_encode(raw, again) != size || memcmp(again, data, size) != 0)) {
		abort();
	}
	return 0;
}
