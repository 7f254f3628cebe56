// The bundled script and style sheet of the page, embedded at build time by cmake/page.cmake. Both empty in a build
// without Node.js (-DBAREATTN_PAGE=OFF): render_page says so.
#pragma once
#include <string_view>

namespace bareattn::view {

struct PageAssets {
  std::string_view script;
  std::string_view style;
};
PageAssets page_assets();

}  // namespace bareattn::view
