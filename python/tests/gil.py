"""Whether other Python threads go on while a call is in C++."""

import threading
import time


def ticks_during(call):
    """(how often another thread ran meanwhile, one that wakes every millisecond; the call's seconds)"""
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    call()
    end = time.perf_counter()
    done.set()
    thread.join()
    return sum(start < t < end for t in ticks), end - start
