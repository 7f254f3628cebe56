// A run that the server makes for this page, followed until it ends: for the panels that start one.
import { useEffect, useRef, useState } from 'preact/hooks';
import { errorText } from '../data/format';
import type { Live, RunState } from '../source/source';

const ASK_MS = 250;

/** A run on its way. */
export interface Running {
  state: RunState | null;
  failure: string;
  running: boolean; // when this was drawn
  busy(): boolean; // now
  /** Starts one, and calls `done` when it is there. */
  start(begin: () => Promise<void>, done: () => void | Promise<void>): void;
  stop(): void;
}

/** A run of this page as a hook. */
export function useRunning(live: Live): Running {
  const [state, setState] = useState<RunState | null>(null);
  const [failure, setFailure] = useState('');
  const asking = useRef(0);
  const begun = useRef(false);
  const fail = (error: unknown): void => {
    begun.current = false;
    setState(null);
    setFailure(errorText(error));
  };
  const follow = (done: () => void | Promise<void>): void => {
    live
      .state()
      .then(async (now) => {
        if (now.state === 'running') {
          setState(now);
          asking.current = window.setTimeout(() => follow(done), ASK_MS);
          return;
        }
        if (now.state === 'done') await done();
        begun.current = false;
        setState(now);
        if (now.state === 'failed') setFailure(now.error ?? 'the run failed');
      }, fail)
      .catch(fail);
  };
  useEffect(() => () => window.clearTimeout(asking.current), []);
  return {
    state,
    failure,
    running: state?.state === 'running',
    busy: () => begun.current,
    start: (begin, done) => {
      if (begun.current) return;
      begun.current = true;
      setFailure('');
      setState({ state: 'running', done: 0, total: 0 });
      begin().then(() => follow(done), fail);
    },
    stop: () => void live.cancel().catch(fail),
  };
}
