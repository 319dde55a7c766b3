// In the place of jsr:@std/streams; see io.ts.
export function toArrayBuffer(stream: ReadableStream<Uint8Array>): Promise<ArrayBuffer> {
	return new Response(stream).arrayBuffer();
}
