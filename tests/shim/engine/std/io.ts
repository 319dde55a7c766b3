// In the place of jsr:@std/io, of which Rocket.Chat's runtime takes this one function; JSR is not among the registries the tests install from.
export async function writeAll(writer: { write(data: Uint8Array): Promise<number> }, data: Uint8Array): Promise<void> {
	for (let written = 0; written < data.length; ) written += await writer.write(data.subarray(written));
}
