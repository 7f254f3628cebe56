// `bareattn`: parses, runs one command, and turns what it threw into one sentence on stderr and an exit status:
// 0 done, 1 could not be done, 2 wrong usage or unusable input, 130 stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP).
// Sees only include/bareattn.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/signals.h"
#include "commands/commands.h"
#include "console/ending.h"
#include "console/interrupt.h"
#include "console/usage.h"
#include "console/warn.h"

namespace bareattn::cli {
namespace {

// A standard stream that the caller closed would be the number of the next file that is opened, and what is printed
// would land in the page. Standard output stays one that cannot be written, so that the exit status says so.
void occupy_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd) _exit(exit_failure);
  }
}

// Not by fmt::print, which throws where stderr is closed or full: the status must come out all the same.
int complain(int status, std::string_view sentence) {
  const std::string line = "bareattn: " + printable(sentence) + "\n";
  std::fputs(line.c_str(), stderr);
  return status;
}

// Where there is no memory, none is needed to say so.
int complain_of_memory() {
  std::fputs(
      "bareattn: out of memory: the system or a limit (ulimit -v, a container's) gives no more. A shorter text, "
      "fewer threads (-t) and --precision bf16 need less.\n",
      stderr);
  return exit_failure;
}

// What no catch can reach: no memory before main begins, or while something else is being said; a fault of our own.
[[noreturn]] void last_words() {
  static_cast<void>(abandon_files());
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    _exit(complain_of_memory());
  } catch (...) {
  }
  std::fputs("bareattn: ended by a fault of its own\n", stderr);
  _exit(exit_failure);
}
[[gnu::constructor(101)]] void prepare_last_words() { std::set_terminate(last_words); }

void flush_standard_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw OutputError("standard output cannot be written");
}

int run(int argc, char** argv) {
  CLI::App app{"Bare Attention: what every head of a language model attends to, exactly.", "bareattn"};
  app.set_version_flag("--version", "bareattn " BAREATTN_VERSION);
  app.require_subcommand(0, 1);  // so that an unknown command is named in the complaint
  app.footer(
      "Begin with:\n"
      "  bareattn look -m MODEL.gguf \"The cat sat on the mat because it was tired.\"\n"
      "  bareattn look -m MODEL.gguf story.txt -o page.html     then open page.html\n"
      "BAREATTN_MODEL may name the model file instead of -m. `bareattn help COMMAND` shows more.");
  app.get_formatter()->column_width(30);
  Action action;
  add_look(app, action);
  add_trace(app, action);
  add_tile(app, action);
  add_row(app, action);
  add_page(app, action);
  add_serve(app, action);
  add_generate(app, action);
  add_tokenize(app, action);
  add_perplexity(app, action);
  add_info(app, action);
  add_steer(app, action);
  add_roles(app, action);
  add_stream(app, action);
  add_agree(app, action);
  add_measures(app, action);
  add_diff(app, action);
  add_quantize(app, action);
  add_diagnose(app, action);
  add_break(app, action);
  add_completion(app, action);
  if (argc < 2) {
    std::fputs(app.help().c_str(), stderr);
    return exit_input;
  }
  try {
    std::vector<std::string> arguments = with_plain_words(app, {argv + 1, argv + argc});
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes a vector
    app.parse(std::move(arguments));
  } catch (const CLI::Success& success) {  // --help, --version
    const int status = app.exit(success);
    std::cout.flush();
    return std::cout.good() && std::fflush(stdout) == 0 ? status
                                                        : complain(exit_failure, "standard output cannot be written");
  } catch (const CLI::ExtrasError&) {
    return complain(exit_input, unexpected(app));
  } catch (const CLI::ParseError& error) {
    return complain(exit_input, std::string(error.what()) + " (see bareattn --help)");
  }
  if (!action) return complain(exit_input, "no command given (see bareattn --help)");
  watch_interrupts();
  const int status = action();
  watch_no_more();
  warn_of_few_threads();
  flush_standard_output();
  return status;
}

int run_or_complain(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Cancelled&) {
    watch_no_more();
    return complain(interrupted_status(), written() ? "stopped" : "stopped; nothing was written");
  } catch (const InputError& error) {
    return complain(exit_input, error.what());
  } catch (const OutputError& error) {
    return complain(exit_failure, error.what());
  } catch (const std::bad_alloc&) {
    return complain_of_memory();
  } catch (const std::system_error& error) {
    // What is printed and is longer than the buffer of standard output fails here, before the flush.
    if (std::ferror(stdout) != 0) return complain(exit_failure, "standard output cannot be written");
    return complain(exit_failure, std::string("the system refused: ") + error.what() + " (ulimit -a shows its limits)");
  } catch (const std::exception& error) {
    return complain(exit_failure, error.what());
  }
}

}  // namespace
}  // namespace bareattn::cli

int main(int argc, char** argv) {
  bareattn::cli::occupy_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grew too large is the writer's error, which leaves nothing behind
  return bareattn::cli::run_or_complain(argc, argv);
}
