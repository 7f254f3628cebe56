// The served page: an HTTP server on 127.0.0.1 that shows a trace of any length, every cell exact on demand, and, where
// a model is given, runs the texts that are typed into the page. docs/serve.md has its interface and what it refuses.
// It never binds another address, reads no path that a client names, and answers nobody without the token of url().
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "bareattn/lesson.h"
#include "bareattn/trace.h"

namespace bareattn {

/// What a client may ask of the server; more is refused with the status given. Where the process may open fewer files
/// there are fewer connections.
struct ServeLimits {
  int64_t header_bytes = 8192;   // 431; the whole head, so no line is longer either
  int headers = 64;              // 431
  int64_t body_bytes = 1 << 20;  // 413
  int waiting = 64;              // connections without a whole request: the oldest is closed for the next
  int connections = 512;         // all: the oldest that has not shown the token is closed for the next, or that itself
  double request_seconds = 10;   // from connecting to the end of the request, however slowly it drips
  double answer_seconds = 30;    // to take the answer
  double idle_seconds = 60;      // without any request: caches are dropped
  int64_t cache_bytes = 64 << 20;  // tiles and maps kept
};

struct ServeOptions {
  int port = 0;                               // 0: any free one
  int threads = 0;                            // that compute; 0: all cores, at least two: one is kept for rows
  std::string title;                          // of the page; empty: the trace's
  std::shared_ptr<const Model> model = {};    // live mode: runs the texts that are typed into the page; null: none
  std::shared_ptr<const Trace> against = {};  // a second run over the same tokens, shown beside the first; null: none
  bool chat = false;                          // typed texts are users' messages: in the model's chat template
  bool value_weighted = false;                // the page opens with weights times the size of what keys carry
  /// The tour of `model`, on pages of its runs: of another model's there is none. Null: nowhere.
  std::shared_ptr<const Lesson> lesson = {};
  int64_t live_tokens = 8192;  // the longest of them, in tokens; the model's context is a limit as well
  ServeLimits limits = {};
};

class Server {
 public:
  /// Binds 127.0.0.1. InputError where the trace lacks what the page needs or the two do not go together, OutputError
  /// where the port cannot be had, Cancelled where `progress` says so while the heads are read.
  Server(std::shared_ptr<const Trace> trace, const ServeOptions& options = {}, const Progress& progress = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  const std::string& token() const;  // 128 random bits, new for each server
  std::string url() const;           // http://127.0.0.1:PORT/#token=TOKEN
  /// Serves until `stop`, asked ten times a second, says true. All work in progress is abandoned then.
  void run(const std::function<bool()>& stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bareattn
