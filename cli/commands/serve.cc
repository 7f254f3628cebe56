// `bareattn serve`: the page of a trace of any length, or of a text that is run now, over HTTP on this machine alone.
// With a model, texts typed into the page are run. What it answers and refuses: docs/serve.md.
#include "bareattn/serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/ending.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "console/warn.h"
#include "options/input.h"
#include "options/lesson_choice.h"
#include "options/reach_choice.h"
#include "reports/json_text.h"

extern char** environ;  // NOLINT: POSIX names it so

namespace bareattn::cli {
namespace {

struct ServeChoice {
  ModelChoice model;
  InputChoice input;
  ReachChoice reach;
  TokenChoice encoding;
  LessonChoice lesson;
  bool open = false, json = false, value_weighted = false;
  std::string store = "f16", title, against;
  int port = 0;
  int64_t live_tokens = ServeOptions{}.live_tokens;
  const CLI::App* command = nullptr;
};

bool names_trace(const std::string& argument) { return argument.ends_with(".safetensors"); }

/// Runs the text into a file that is gone from its folder as soon as it is open.
std::shared_ptr<const Trace> run_text(const ServeChoice& choice, const std::shared_ptr<const Model>& model) {
  const InputText input = choice.input.read();
  std::vector<int32_t> tokens = choice.encoding.encode(*model, input.text, choice.reach.reach().beyond);
  choice.reach.warn(model->config(), static_cast<int64_t>(tokens.size()));
  std::string folder = (std::filesystem::temp_directory_path() / "bareattn-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) throw OutputError("no temporary folder can be made at " + folder);
  const std::unique_ptr<std::string, void (*)(std::string*)> removed(&folder, [](std::string* path) {
    std::error_code ignored;
    std::filesystem::remove_all(*path, ignored);
  });
  const std::string path = folder + "/run.safetensors";
  TraceOptions options;
  options.measures.values = true;  // for the page's x value
  options.store = choice.store == "f32" ? Store::f32 : choice.store == "bf16" ? Store::bf16 : Store::f16;
  const std::string start = printable(input.text);
  options.title = input.origin.empty() ? std::string(prefix(start, 60)) : printable(input.origin);
  ProgressBar bar("Running", "tokens");
  write_trace(path, model, std::move(tokens), options, choice.reach.reach(), choice.model.threads, bar.callback());
  return Trace::open(path);
}

/// The model, as the trace was made, so that a steered run differs from it by the steering alone. One of the
/// environment that cannot be loaded is left out, and said.
std::shared_ptr<const Model> model_beside(const ServeChoice& choice, const Trace& trace) {
  if (choice.model.path.empty()) return nullptr;
  try {
    return choice.model.as_made(trace).load();
  } catch (const InputError& error) {
    choice.model.leave_out(error, "no texts can be run");
    return nullptr;
  }
}

/// The browser is asked by xdg-open, which is given the address and nothing else; that there is none is said, no more.
/// A session of its own keeps our Ctrl-C from a browser that it starts; and what it prints is none of our output.
void open_browser(const std::string& url) {
  std::string program = "xdg-open", address = url;
  char* arguments[] = {program.data(), address.data(), nullptr};
  posix_spawnattr_t alone;
  posix_spawn_file_actions_t silent;
  posix_spawnattr_init(&alone);
  posix_spawnattr_setflags(&alone, POSIX_SPAWN_SETSID);
  posix_spawn_file_actions_init(&silent);
  posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, program.c_str(), &silent, &alone, arguments, environ);
  posix_spawn_file_actions_destroy(&silent);
  posix_spawnattr_destroy(&alone);
  if (failed != 0)
    fmt::print(stderr, "bareattn: no browser could be opened (xdg-open is missing); open the address yourself\n");
}

void announce(const ServeChoice& choice, const Server& server, int64_t tokens) {
  if (choice.json) {
    const nlohmann::json line = {
        {"url", server.url()}, {"port", server.port()}, {"token", server.token()}, {"tokens", tokens}};
    fmt::print("{}", json_text(line, -1));
  } else {
    fmt::print("{}\n", server.url());
    fmt::print(stderr, "{} tokens; the address holds the token that lets you in. Ctrl-C ends it.\n", grouped(tokens));
  }
  if (std::fflush(stdout) != 0) throw OutputError("standard output cannot be written");
}

int serve(const ServeChoice& choice) {
  const bool from_file = names_trace(choice.input.argument);
  if (from_file) {
    refuse_with_trace(*choice.command, {"--text", "--file", "--chat", "--special", "--store", "--beyond", "--window",
                                        "--sinks", "--precision", "--attention"});
  }
  ServeOptions options;
  options.port = choice.port;
  options.title = choice.title;
  options.threads = choice.model.threads;
  options.live_tokens = choice.live_tokens;
  options.chat = choice.encoding.chat;
  if (!from_file && choice.model.path.empty())
    throw InputError("name a trace (RUN.safetensors, made by bareattn trace), or a model with -m and a text");
  std::shared_ptr<const Trace> trace;
  if (from_file) trace = Trace::open(choice.input.argument);
  options.model = from_file ? model_beside(choice, *trace) : choice.model.load();
  if (options.model) options.lesson = choice.lesson.make(options.model, choice.model.threads);
  if (!from_file) trace = run_text(choice, options.model);
  options.value_weighted = choice.value_weighted;
  if (choice.value_weighted) static_cast<void>(trace->carried({0, 0}));  // refuses
  if (!choice.against.empty()) options.against = Trace::open(choice.against);
  std::unique_ptr<Server> server;
  {
    ProgressBar bar("Reading", "heads");
    server = std::make_unique<Server>(trace, options, bar.callback());
  }
  warn_of_few_threads();
  serve_until_interrupted();
  announce(choice, *server, static_cast<int64_t>(trace->tokens().size()));
  if (choice.open) open_browser(server->url());
  server->run(&interrupted);
  server.reset();
  return served_status();
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  auto choice = std::make_shared<ServeChoice>();
  CLI::App* command = app.add_subcommand("serve", "show a run of any length in the browser, from this machine");
  choice->command = command;
  choice->input.declare(*command, "RUN|TEXT", "a trace (*.safetensors), or with -m a text");
  choice->model.declare(*command);
  command->add_option("--against", choice->against, "a second trace over the same tokens, shown beside the first")
      ->type_name("RUN");
  command->add_option("-p,--port", choice->port, "port of 127.0.0.1; 0 takes a free one")
      ->type_name("N")
      ->check(within(0, 65535))
      ->capture_default_str();
  command->add_flag("--value-weighted", choice->value_weighted,
                    "the page opens with weights times the size of what each key carries, |p v W_O|");
  command->add_flag("--open", choice->open, "open it in the browser");
  command->add_flag("--json", choice->json, "print address, port and token as one line of JSON");
  choice->encoding.declare_chat(*command, "the text, and what is typed into the page,");
  choice->encoding.declare_special(*command);
  command->add_option("--store", choice->store, "of the text that is run: f16, bf16, or f32 (weights bit for bit)")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}).description(""))
      ->capture_default_str();
  choice->reach.declare(*command);
  command->add_option("--live-tokens", choice->live_tokens, "longest text that may be typed into the page, in tokens")
      ->type_name("N")
      ->check(within<int64_t>(1, 1'000'000))
      ->capture_default_str();
  choice->lesson.declare(*command);
  command->add_option("--title", choice->title, "title of the page (default: the trace's)")->type_name("TEXT");
  command->footer(
      "Examples:\n"
      "  bareattn serve story.safetensors\n"
      "  bareattn serve before.safetensors --against after.safetensors\n"
      "  bareattn serve -m MODEL.gguf \"The cat sat on the mat because it was tired.\" --open\n"
      "  bareattn serve -m MODEL.gguf story.txt --port 8080\n"
      "It prints the address, which holds a token that is new each time, and serves until Ctrl-C (exit status 0).\n"
      "Only this machine can reach it. docs/serve.md has what it answers.");
  command->callback([choice, &action] { action = [choice] { return serve(*choice); }; });
}

}  // namespace bareattn::cli
