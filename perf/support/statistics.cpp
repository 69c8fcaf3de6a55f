#include "statistics.hpp"

#include <algorithm>
#include <stdexcept>

namespace lagoon_perf {

namespace {

double quantile(const std::vector<double>& sorted, double share) {
    const double rank = share * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(rank);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double part = rank - static_cast<double>(below);
    return sorted[below] * (1 - part) + sorted[above] * part;
}

}  // namespace

Summary summarize(std::vector<double> samples) {
    if (samples.empty()) throw std::logic_error("a summary of no samples was asked for");
    std::sort(samples.begin(), samples.end());
    return {.min = samples.front(),
            .lower_quartile = quantile(samples, 0.25),
            .median = quantile(samples, 0.5),
            .upper_quartile = quantile(samples, 0.75),
            .max = samples.back(),
            .count = samples.size()};
}

std::vector<double> quotients(const std::vector<double>& above, const std::vector<double>& below) {
    if (above.size() != below.size()) throw std::logic_error("quotients of unequal lists");
    std::vector<double> result(above.size());
    std::transform(above.begin(), above.end(), below.begin(), result.begin(),
                   [](double a, double b) { return a / b; });
    return result;
}

}  // namespace lagoon_perf
