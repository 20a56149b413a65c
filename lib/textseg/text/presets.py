"""Prompts that a viewer offers in its drop-down. Patient sides, always."""

PRESETS = (
    "Bilateral pulmonary infection, two infected areas, lower left lung and lower right lung",
    "Bilateral pulmonary infection, two infected areas, all left lung and all right lung",
    "Bilateral pulmonary infection, two infected areas, middle lower left lung and middle lower right lung",
    "Unilateral pulmonary infection, one infected area, lower left lung",
    "Unilateral pulmonary infection, one infected area, lower right lung",
    "Unilateral pulmonary infection, one infected area, upper left lung",
    "Unilateral pulmonary infection, one infected area, upper right lung",
    "Unilateral pulmonary infection, left lung",
    "Unilateral pulmonary infection, right lung",
    "No pulmonary infection",
)
