// charts.hpp: which plots are made of which results.
#pragma once

#include <string>
#include <vector>

#include "results.hpp"

namespace lagoon_perf {

struct Chart {
    std::string file;  // of the SVG, without its ending
    std::string svg;
    std::string said;  // below it
};

/// Every plot for which there are results.
[[nodiscard]] std::vector<Chart> all_charts(const Results& results);

}  // namespace lagoon_perf
