// html.hpp: the one page: plots, what was required and found, counts per path, how it was measured.
#pragma once

#include <string>
#include <vector>

#include "charts.hpp"
#include "results.hpp"

namespace lagoon_perf {

/// A whole HTML document that refers to nothing outside of itself.
[[nodiscard]] std::string page(const Results& results, const std::vector<Chart>& charts);

}  // namespace lagoon_perf
