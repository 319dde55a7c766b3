/*
 * rand - random bytes straight from the kernel, through libsodium
 *
 * randombytes_buf() cannot fail: it ends the process when the kernel has no randomness, which is what one wants.
 */
#include "crypto/rand.h"

#include <sodium.h>

#include "base/b64.h"

void rand_bytes(uint8_t *ret, size_t n)
{
	randombytes_buf(ret, n);
}

int rand_secret(size_t n, struct secret **ret)
{
	struct secret *s;
	int r = secret_new(n, &s);

	if (r < 0)
		return r;
	rand_bytes(secret_write(s), n);
	*ret = s;
	return 0;
}

void rand_uuid(char ret[UUID_SIZE])
{
	static const uint8_t groups[] = { 4, 2, 2, 2, 6 }; /* bytes between the dashes */
	uint8_t raw[16];
	const uint8_t *from = raw;
	char *to = ret;

	rand_bytes(raw, sizeof(raw));
	raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40); /* version 4 */
	raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80); /* the variant of RFC 9562 */
	for (size_t i = 0; i < sizeof(groups); i++) {
		if (i > 0)
			*to++ = '-';
		hex_encode(BYTES(from, groups[i]), to);
		from += groups[i];
		to += 2 * groups[i];
	}
}
