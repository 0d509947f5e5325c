"""The world outside, behind the ports.

sql_tables, sql_rows             tables, and models to rows and back
sql_jobs                         the job store: transactions over the modules below
sql_queue                        whose turn it is, places in the queue, workers, speeds
sql_writes                       a small change in one statement
sql_thinning                     what ended jobs no longer need
sql_lists                        where the lists lie in SQL
sql_metrics                      measured points, packed
grpc_datasets                    the dataset service
s3_artifacts                     files that workers stored
"""
