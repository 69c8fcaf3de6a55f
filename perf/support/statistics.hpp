// statistics.hpp: order statistics of the samples of one run.
//
//   Unit       whatever the samples are in
//   Errors     an empty list of samples is a broken contract and ends the program
//   Source     quantiles by linear interpolation between the two nearest ranks
#pragma once

#include <cstddef>
#include <vector>

namespace lagoon_perf {

/// What is told about a list of samples. No mean: one preempted sample would move it.
struct Summary {
    double min = 0;
    double lower_quartile = 0;
    double median = 0;
    double upper_quartile = 0;
    double max = 0;
    std::size_t count = 0;
};

/// The summary of `samples`, which may be in any order.
[[nodiscard]] Summary summarize(std::vector<double> samples);

/// `above[i] / below[i]` for each i; both lists have one length.
[[nodiscard]] std::vector<double> quotients(const std::vector<double>& above,
                                            const std::vector<double>& below);

}  // namespace lagoon_perf
