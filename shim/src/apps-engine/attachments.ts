// Attachments under the names that clients read. The server's converter renames an app's attachments on their way, but it never sees
// encrypted ones; so this renames them before they are encrypted.

const plain: Record<string, string> = {
	timestamp: 'ts', timestampLink: 'message_link', thumbnailUrl: 'thumb_url', imageUrl: 'image_url', audioUrl: 'audio_url', videoUrl: 'video_url',
	actionButtonsAlignment: 'button_alignment',
};
const nested: Record<string, Record<string, string>> = {
	author: { name: 'author_name', link: 'author_link', icon: 'author_icon' },
	title: { value: 'title', link: 'title_link', displayDownloadLink: 'title_link_download' },
};

/** An attachment of an app (IMessageAttachment) as clients know it; one that has their names already stays as it is. */
export function wireAttachment(attachment: Record<string, any>): Record<string, any> {
	const wire: Record<string, any> = {};
	for (const [name, value] of Object.entries(attachment)) {
		const parts = nested[name];
		if (parts && typeof value === 'object' && value !== null) {
			for (const [part, partName] of Object.entries(parts)) if (value[part] !== undefined) wire[partName] = value[part];
		} else if (value !== undefined) wire[plain[name] ?? name] = value;
	}
	return wire;
}
