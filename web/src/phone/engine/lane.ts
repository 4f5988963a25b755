// One thing after the other: the single writer that every conversation needs.

export class Lane {
  private last: Promise<unknown> = Promise.resolve();

  /** Runs when everything queued before has settled. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work, work);
    this.last = result.catch(() => undefined);
    return result;
  }
}
