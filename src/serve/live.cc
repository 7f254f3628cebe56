// See live.h.
#include "serve/live.h"

#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "base/float_environment.h"
#include "base/json.h"
#include "base/temporary_folder.h"
#include "base/threads.h"
#include "base/utf8.h"

namespace bareattn::serving {
namespace {

using nlohmann::json;

std::string dumped(const json& value) { return value.dump(-1, ' ', true, json::error_handler_t::replace); }

/// The beginning of a text, of whole characters.
std::string title_of(const std::string& text) {
  constexpr int most = 60;
  const std::string line = printable(text);
  size_t end = 0;
  for (int characters = 0; end < line.size() && characters < most; ++characters)
    end += base::decode_utf8(line, end).length;
  return end == line.size() ? line : line.substr(0, end) + "...";
}

}  // namespace

Live::Live(const ServeOptions& options, Current current, Install install)
    : options_(options), current_(std::move(current)), install_(std::move(install)) {}

Live::~Live() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

Answer Live::start(const Request& request) {
  if (!options_.model) return error_answer(404, "no model was given to bareattn serve: there is no live mode");
  if (request.header("content-type") != "application/json")
    return error_answer(415, "Content-Type: application/json is needed");
  std::string problem;
  const json body = base::read_json(request.body, problem);
  if (body.is_discarded()) return error_answer(400, "the body " + problem);
  const bool text = body.is_object() && body.contains("text"), steering = body.is_object() && body.contains("steering");
  if (text == steering || (text && !body["text"].is_string()) || (steering && !body["steering"].is_object()))
    return error_answer(400, "the body is a JSON object with a string 'text' or an object 'steering'");
  for (const char* name : {"page", "run"}) {
    if (body.contains(name) && !body[name].is_string())
      return error_answer(400, std::string("'") + name + "' is a string");
  }
  Job job;
  if (text) {
    job.text = body["text"].get<std::string>();
    if (job.text.empty()) return error_answer(400, "the text is empty");
  } else {
    try {
      job.steering = steering_from_json(dumped(body["steering"]));
    } catch (const InputError& error) {
      return error_answer(400, error.what());
    }
    if (job.steering.empty()) return error_answer(400, "the steering holds no interventions");
  }
  const std::lock_guard lock(mutex_);  // from here on no other run can end, and what is shown stays
  if (running_) return error_answer(409, "a text is running; cancel it first");
  if (steering) {
    const std::shared_ptr<const Shown> shown = current_();
    if (body.value("run", shown->id()) != shown->id())
      return error_answer(410, "the run of this page is no longer shown");
    job.before = shown->shared_trace();
    try {
      static_cast<void>(
          make_table(job.steering, options_.model->config(), static_cast<int64_t>(job.before->tokens().size())));
    } catch (const InputError& error) {
      return error_answer(400, error.what());
    }
  }
  if (thread_.joinable()) thread_.join();
  page_ = body.value("page", "");
  phase_ = "running";
  error_ = shown_ = "";
  done_ = total_ = 0;
  stop_ = false;
  running_ = true;
  std::vector<std::thread> started;
  if (base::start_threads(started, 1, [this, job = std::move(job)](int) { run(job); }) == 0) {
    running_ = false;
    phase_ = "failed";
    error_ = std::string("no thread can be started for the run (") + base::thread_limits + ")";
    return error_answer(503, error_);
  }
  thread_ = std::move(started.front());
  return json_answer(202, R"({"state":"running"})");
}

Answer Live::state() const {
  const std::lock_guard lock(mutex_);
  json state = {{"state", phase_}, {"done", done_.load()}, {"total", total_.load()}};
  if (!error_.empty()) state["error"] = error_;
  if (!shown_.empty()) state["run"] = shown_;
  return json_answer(200, dumped(state));
}

Answer Live::cancel() {
  stop_ = true;
  return state();
}

bool Live::left(const std::string& page) {
  const std::lock_guard lock(mutex_);
  const bool its = !page.empty() && page == page_;
  if (running_ && its) stop_ = true;
  return its;
}

bool Live::progress(int64_t done, int64_t total) {
  done_ = done;
  total_ = total;
  return !stop_;
}

void Live::prepare(const Job& job, std::vector<int32_t>& tokens, TraceOptions& how) const {
  if (job.before == nullptr) {
    const Tokenizer& tokenizer = options_.model->tokenizer();
    const ChatMessage message{"user", job.text};
    const std::string whole = options_.chat ? tokenizer.apply_chat_template({&message, 1}, true) : job.text;
    auto within = tokenizer.encode_within(options_.live_tokens, whole,
                                          {.parse_special = options_.chat, .add_bos = tokenizer.spec().add_bos});
    if (!within)
      throw InputError("the text has more than " + std::to_string(options_.live_tokens) +
                       " tokens, which is what live mode runs at most");
    tokens = std::move(*within);
    if (options_.chat) how.spans = known_spans(tokenizer, tokens, job.text);
    how.title = title_of(job.text);
    how.measures.values = true;  // for the page's x value
  } else {
    if (options_.model->sha256() != job.before->model().sha256())
      throw InputError("the run that is shown was made with another model than the one given with -m");
    tokens = job.before->tokens();
    how.store = job.before->store();
    how.measures = job.before->measured();
    how.pool_block = job.before->pool_block();
    how.spans = job.before->spans();
    how.title = "steered";
    how.table = std::make_shared<const ScoreTable>(
        make_table(job.steering, options_.model->config(), static_cast<int64_t>(tokens.size())));
  }
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > options_.live_tokens)
    throw InputError("the text has " + std::to_string(count) + " tokens; live mode runs at most " +
                     std::to_string(options_.live_tokens));
}

std::shared_ptr<const Shown> Live::traced(const Job& job) {
  std::vector<int32_t> tokens;
  TraceOptions how;
  prepare(job, tokens, how);
  const base::TemporaryFolder folder;
  const std::string path = folder.file("run.safetensors");
  write_trace(path, options_.model, std::move(tokens), how, job.before ? job.before->run().reach : Reach{},
              options_.threads, [this](int64_t done, int64_t total) { return progress(done, total); });
  ShownOptions shown;
  shown.live = true;
  shown.value_weighted = options_.value_weighted;
  shown.before = job.before;
  if (!job.before) shown.lesson = options_.lesson;
  shown.cache_bytes = options_.limits.cache_bytes;
  return std::make_shared<const Shown>(Trace::open(path), shown, [this](int64_t, int64_t) { return !stop_; });
}

void Live::run(const Job& job) {
  const base::DefaultFloatEnvironment environment;
  std::string phase = "done", error;
  std::shared_ptr<const Shown> shown;
  try {
    shown = traced(job);
  } catch (const Cancelled&) {
    phase = "cancelled";
  } catch (const std::exception& problem) {
    phase = "failed";
    error = problem.what();
  }
  const std::lock_guard lock(mutex_);  // left() comes before, and nothing is shown, or after, and it is shown already
  if (shown && stop_) phase = "cancelled";
  if (phase == "done") {
    shown_ = shown->id();
    install_(std::move(shown), job.before ? Place::beside : Place::instead);
  }
  phase_ = phase;
  error_ = error;
  running_ = false;
}

}  // namespace bareattn::serving
