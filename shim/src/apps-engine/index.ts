export { E2eedError } from '../index';
