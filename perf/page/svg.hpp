// svg.hpp: plots as text: bars with spreads, and lines over linear or logarithmic axes.
//
//   Shape      one <svg> element that needs nothing from elsewhere; 720 wide
//   Errors     none; what is not finite or, on a logarithmic axis, not positive is left out
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace lagoon_perf {

struct Bar {
    std::string name;
    double value = 0;
    double low = 0;  // of the spread; equal to high: none is drawn
    double high = 0;
};

struct Point {
    double x = 0;
    double y = 0;
    double low = 0;  // as a bar's
    double high = 0;
};

struct Series {
    std::string name;
    std::vector<Point> points;
};

/// What an axis shows; without ticks of its own it gets round numbers.
struct Axis {
    std::string label;
    bool logarithmic = false;
    bool is_time = false;  // in ns: told as ns, us, ms, s
    std::vector<std::pair<double, std::string>> ticks = {};
};

[[nodiscard]] std::string bar_chart(const std::string& title, const Axis& axis,
                                    const std::vector<Bar>& bars);
[[nodiscard]] std::string line_chart(const std::string& title, const Axis& across, const Axis& up,
                                     const std::vector<Series>& all);

/// 16384, 65k, 1M, ...
[[nodiscard]] std::string number_text(double value);
/// 12.3 ns, 4.56 us, ...
[[nodiscard]] std::string duration_text(double ns);
[[nodiscard]] std::string escaped(const std::string& text);

}  // namespace lagoon_perf
