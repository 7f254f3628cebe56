// `bareattn`: parses, runs one command, and turns what it threw into one sentence on stderr and an exit status:
// 0 done, 1 could not be done, 2 wrong usage or unusable input, 130 stopped by Ctrl-C. Sees only include/bareattn.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands.h"
#include "interrupt.h"

namespace bareattn::cli {
namespace {

int complain(int status, std::string_view sentence) {
  fmt::print(stderr, "bareattn: {}\n", printable(sentence));
  return status;
}

int run(int argc, char** argv) {
  CLI::App app{"Bare Attention: what every head of a language model attends to, exactly.", "bareattn"};
  app.set_version_flag("--version", "bareattn " BAREATTN_VERSION);
  app.require_subcommand(0, 1);  // so that an unknown command is named in the complaint
  app.footer(
      "Begin with:\n"
      "  bareattn look -m MODEL.gguf \"The cat sat on the mat because it was tired.\"\n"
      "  bareattn look -m MODEL.gguf story.txt -o page.html     then open page.html\n"
      "BAREATTN_MODEL may name the model file instead of -m. `bareattn COMMAND --help` shows more.");
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
  add_completion(app, action);
  if (argc < 2) {
    fmt::print(stderr, "{}", app.help());
    return exit_input;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return complain(exit_input, std::string(error.what()) + " (see bareattn --help)");
  }
  if (!action) return complain(exit_input, "no command given (see bareattn --help)");
  watch_interrupts();
  try {
    const int status = action();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw OutputError("standard output cannot be written");
    return status;
  } catch (const Cancelled&) {
    return complain(exit_interrupted, "stopped; nothing was written");
  } catch (const InputError& error) {
    return complain(exit_input, error.what());
  } catch (const OutputError& error) {
    return complain(exit_failure, error.what());
  } catch (const std::bad_alloc&) {
    return complain(exit_failure, "out of memory");
  } catch (const std::exception& error) {
    return complain(exit_failure, error.what());
  }
}

}  // namespace
}  // namespace bareattn::cli

int main(int argc, char** argv) { return bareattn::cli::run(argc, argv); }
