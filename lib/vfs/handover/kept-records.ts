/** The common part of those who write records: where they write them, and the record that is being put together. */
import type { RecordMemory } from '../../records/index.js';
import type { RecordText } from './record-text.js';

export abstract class KeptRecords {
  protected readonly memory: RecordMemory;
  protected readonly text: RecordText;

  constructor(memory: RecordMemory, text: RecordText) {
    this.memory = memory;
    this.text = text;
  }
}
