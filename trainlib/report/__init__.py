"""Reports of runs: figures, and one HTML page that shows them.

run_page: the page of one run.
run_record: the records of a run and of its model, from which pages are made.
comparison_page: the page of several runs, the best on validation data first.
ensemble_page: the page of an ensemble.
folds_page: the page of a cross-validation.
search_page: the page of a search.
contenders_page: the page of a comparison over several seeds.
diagnosis: what the losses of a run show, and what to try next.
spread: figures over several seeds.
columns: columns of a run's history.
curves: figures of a history.
range_test: the curve of a learning-rate range test, as a table and as a figure.
predictions: predictions of a model and figures of their errors.
class_scores: precision and recall of each class.
reliability: how often predictions of each confidence are correct.
reconstructions: reconstructions of an autoencoder beside the originals.
augmentation: training examples before and after augmentation.
examples: the examples with the highest loss.
figures: makes, styles and writes figures.
page: the parts of an HTML page.
page_style: its style sheet.
tables: its tables.
"""
