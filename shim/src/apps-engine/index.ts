// e2eed-client/apps-engine: encrypted rooms for Rocket.Chat apps.
export { type AppMessage, encryptedContent } from './content';
export { type Credentials, credentials, type CredentialsRead, environmentName } from './credentials';
export { explain } from './explain';
export { EncryptedFiles, type FilesOptions, type OutgoingFile, type ReceivedFile, type SentFile } from './files';
export type { AppsHttp, Fetch, Http } from './http';
export { Participant, type ParticipantClient, type ParticipantOptions, type ParticipantState } from './participant';
export type { DecryptedMessage, Mentions } from './read';
export { Rest, type RestOptions, type ServerAbilities } from './rest';
export type { RoomPhase, RoomState } from './room_sync';
export { type Capabilities, type Context, EncryptedRooms, type EncryptedRoomsOptions, type HistoryEntry, type ListenerArguments, type OnMessageOptions } from './rooms';
export type { AppRoom, OutgoingMessage } from './write';
export { connect, E2eedError } from '../index';
