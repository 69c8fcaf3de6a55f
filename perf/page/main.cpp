// perf_page: one HTML page, and its plots as files, out of the raw results of benchmarks.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "charts.hpp"
#include "html.hpp"
#include "results.hpp"

namespace lagoon_perf {
namespace {

void write(const std::filesystem::path& name, const std::string& text) {
    std::ofstream file(name);
    file << text;
    file.close();
    if (!file) throw std::runtime_error("cannot write " + name.string());
}

int run(int argc, char** argv) {
    CLI::App app{
        "perf_page: plots and tables of raw results; the plots are of the first of each program"};
    std::string out;
    std::string svg;
    std::vector<std::string> files;
    app.add_option("--out", out, "the page")->required();
    app.add_option("--svg", svg, "directory for the plots as files of their own");
    app.add_option("results", files, "raw results")->required();
    CLI11_PARSE(app, argc, argv);
    const Results results(files);
    const std::vector<Chart> charts = all_charts(results);
    write(out, page(results, charts));
    if (!svg.empty()) {
        std::filesystem::create_directories(svg);
        for (const Chart& chart : charts) {
            write(std::filesystem::path(svg) / (chart.file + ".svg"), chart.svg);
        }
    }
    std::cout << "perf_page: " << charts.size() << " plots of " << files.size() << " results\n";
    return 0;
}

}  // namespace
}  // namespace lagoon_perf

int main(int argc, char** argv) {
    try {
        return lagoon_perf::run(argc, argv);
    } catch (const std::exception& error) {
        std::cerr << "perf_page: " << error.what() << '\n';
        return 1;
    }
}
